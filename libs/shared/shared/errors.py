"""Refusals: what a rule says no with.

A domain names the rule (`class WindowClosed(Conflict)`) under a kind; the kind alone knows its HTTP
status. The `code` a client reads is the class name in snake_case and never changes once published.
"""

import re
from typing import ClassVar


class Refusal(Exception):
    """A rule was broken by what was asked; nothing is wrong with the system.

    `extras` are further members of the problem document (RFC 9457 §3.2), e.g. the old and new price.
    """

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Refused"
    code: ClassVar[str] = "refused"
    remedy: ClassVar[str | None] = None
    """What to do about it, where its status alone does not say so."""

    def __init_subclass__(cls) -> None:
        if "code" not in vars(cls):
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None, **extras: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.extras = extras


class Malformed(Refusal):
    status = 400
    title = "Malformed request"


class Unauthenticated(Refusal):
    status = 401
    title = "Authentication required"


class Forbidden(Refusal):
    status = 403
    title = "Not allowed"


class NotFound(Refusal):
    """Also the answer for what exists but belongs to somebody else: its existence is not told."""

    status = 404
    title = "Not found"


class Conflict(Refusal):
    status = 409
    title = "Conflict with the present state"


class Gone(Refusal):
    status = 410
    title = "No longer available"


class PreconditionFailed(Refusal):
    status = 412
    title = "Changed meanwhile"


class TooLarge(Refusal):
    status = 413
    title = "Too large"


class Unsupported(Refusal):
    status = 415
    title = "Unsupported media type"


class Invalid(Refusal):
    status = 422
    title = "Invalid content"


class TooMany(Refusal):
    status = 429
    title = "Too many requests"


class BadUpstream(Refusal):
    status = 502
    title = "An outside system answered wrongly"


class Unavailable(Refusal):
    status = 503
    title = "Temporarily unavailable"
    answered: ClassVar[bool] = False
    """Whether somebody did answer, and only what was asked about is not known yet: others may be asked about."""
