"""Domain errors: the exceptions that a rule which says no raises.

A domain names the error after the rule (`class WindowIsClosed(Conflict)`) under a kind; the kind alone knows its HTTP
status. The `code` a client reads is the class name in snake_case, unless the class names another, and never changes
once published.
"""

import re
from typing import ClassVar


class DomainError(Exception):
    """A rule was broken by what was asked; nothing is wrong with the system.

    `extras` are further members of the problem document (RFC 9457 §3.2), e.g. the old and new price.
    """

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Refused"
    code: ClassVar[str] = "refused"
    remedy: ClassVar[str | None] = None
    """What the client can do about it, where the status alone does not say so."""

    def __init_subclass__(cls) -> None:
        if "code" not in vars(cls):
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None, **extras: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.extras = extras


class Malformed(DomainError):
    status = 400
    title = "Malformed request"


class Unauthenticated(DomainError):
    status = 401
    title = "Authentication required"


class Forbidden(DomainError):
    status = 403
    title = "Not allowed"


class NotFound(DomainError):
    """Also the answer for what exists but belongs to somebody else: its existence is not disclosed."""

    status = 404
    title = "Not found"


class Conflict(DomainError):
    status = 409
    title = "Conflict with the present state"


class Gone(DomainError):
    status = 410
    title = "No longer available"


class PreconditionFailed(DomainError):
    status = 412
    title = "Changed meanwhile"


class TooLarge(DomainError):
    status = 413
    title = "Too large"


class Unsupported(DomainError):
    status = 415
    title = "Unsupported media type"


class Invalid(DomainError):
    status = 422
    title = "Invalid content"


class TooMany(DomainError):
    status = 429
    title = "Too many requests"


class BadUpstream(DomainError):
    status = 502
    title = "An outside system answered wrongly"


class Unavailable(DomainError):
    status = 503
    title = "Temporarily unavailable"
    answered: ClassVar[bool] = False
    """Whether the outside system did answer, and only the matter asked about is not known yet: others may be."""
