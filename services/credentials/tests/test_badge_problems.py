"""The library's errors as problems: the same codes and words, and the status of their kind."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import pytest

import openbadges
from credentials.adapters.badge_problems import as_problem, problem_of
from openbadges import errors
from openbadges.errors import BadgeError

STATUSES = {errors.Malformed: 400, errors.Invalid: 422, errors.TooLarge: 413, errors.Busy: 503}
for module in walk_packages(openbadges.__path__, "openbadges."):
    if not module.name.endswith(".worker"):
        import_module(module.name)


def below(kind: type[BadgeError]) -> Iterator[type[BadgeError]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


@pytest.mark.parametrize("kind", [*below(BadgeError)], ids=lambda kind: kind.__name__)
def test_an_error_becomes_the_problem_of_its_own_code(kind: type[BadgeError]) -> None:
    made = as_problem(kind("it is not so", terms=["x"]))
    assert (made.code, made.detail, made.remedy, made.extras) == (
        kind.code,
        "it is not so",
        kind.remedy,
        {"terms": ["x"]},
    )
    (status,) = (status for one, status in STATUSES.items() if issubclass(kind, one))
    assert made.status == status
    assert type(made).__doc__ == kind.__doc__
    assert problem_of(kind) is type(made)


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in below(BadgeError)]
    assert len(codes) == len(set(codes)) > 15


def test_when_to_try_again_is_a_header() -> None:
    assert as_problem(errors.Busy("later", retry_after=5)).headers == {"Retry-After": "5"}
    assert as_problem(errors.Busy("later")).headers == {}
