"""The errors of this library: one class for each rule that a document or a value breaks, under four kinds.

`code` names the rule, stably: the class name in snake_case. `detail` says to people what is wrong, `remedy` what they
can do about it.
"""

import re
from typing import ClassVar


class BadgeError(Exception):
    """A document or a value breaks a rule. `extras` are further facts about it, such as the terms that are meant."""

    code: ClassVar[str] = "refused"
    remedy: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, detail: str, *, retry_after: int | None = None, **extras: object) -> None:
        """Set up the error. `retry_after`: the seconds after which it is worth trying again, if it ever is."""
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.extras = extras


class Malformed(BadgeError):
    """A document cannot be read as a credential at all."""


class Invalid(BadgeError):
    """A document can be read, and says what no credential may say."""


class TooLarge(BadgeError):
    """A document or picture has more bytes than are read."""


class Busy(BadgeError):
    """There is no room to check a credential now; nothing is wrong with it."""
