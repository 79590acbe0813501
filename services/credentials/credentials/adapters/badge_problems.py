"""The errors of the library of badges, as problems of this platform: here alone the one becomes the other."""

from functools import cache
from typing import Final

from openbadges import errors
from openbadges.errors import BadgeError
from shared.errors import DomainError, Invalid, Malformed, TooLarge, Unavailable

_KINDS: Final[dict[type[BadgeError], type[DomainError]]] = {
    errors.Malformed: Malformed,
    errors.Invalid: Invalid,
    errors.TooLarge: TooLarge,
    errors.Busy: Unavailable,
    BadgeError: DomainError,
}


@cache
def problem_of(kind: type[BadgeError]) -> type[DomainError]:
    """Return the problem that stands for an error: the same code, words and remedy, and its kind's status."""
    ours = next(_KINDS[one] for one in kind.__mro__ if one in _KINDS)
    return type(kind.__name__, (ours,), {"__doc__": kind.__doc__, "code": kind.code, "remedy": kind.remedy})


def as_problem(error: BadgeError) -> DomainError:
    """Return an error of the library as one of this platform."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return problem_of(type(error))(error.detail, headers=headers, **error.extras)
