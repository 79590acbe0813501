"""What goes in and out: requests refuse what they do not know, views are read from rows."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.addresses import LONGEST, address_of
from shared.events.base import Instant

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def _no_control_characters(value: Any) -> Any:  # Any: whatever was sent, not yet validated
    if isinstance(value, str) and _CONTROL.search(value):
        raise ValueError("control characters are not allowed")
    return value


Text = Annotated[str, BeforeValidator(_no_control_characters)]
"""A string a person typed. Control characters are refused: they sign differently in different languages; those that
turn the direction of writing (Unicode Standard Annex 9, §2) make a page or a letter read as something else. Marks of
direction, and letters that are written from the right, are as good as any."""


def _one_address(value: str) -> str:
    address_of(value)
    return value


Email = Annotated[Text, AfterValidator(_one_address), Field(max_length=LONGEST, json_schema_extra={"format": "email"})]
"""Exactly one e-mail address, such as a letter can be sent to."""


IS_SECRET: Final = object()

Secret = Annotated[str, IS_SECRET, Field(json_schema_extra={"format": "password", "writeOnly": True})]
"""A secret a person typed, as a member of a request's body: nothing made of it is stored with the request."""


LARGEST = 2**31 - 1
"""What an integer column holds: a whole number in a request has a bound, this where nothing smaller is natural."""


class Content(BaseModel):
    """What a person or partner sends: unknown fields are refused, so that nobody sets what is not theirs to set."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class View(BaseModel):
    """What we answer, read from a row or a dataclass."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Money(View):
    amount_minor: int = Field(description="Integer minor units, e.g. pence", examples=[49500])
    currency: str = Field(description="ISO 4217", examples=["GBP"])


__all__ = ["LARGEST", "Content", "Email", "Instant", "Money", "Secret", "Text", "View"]
