"""Types of request and response bodies: requests refuse unknown fields, views are read from rows."""

import inspect
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared import texts
from shared.addresses import LONGEST, address_of
from shared.events.base import Day, Instant

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028-\u202e\u2066-\u2069]")


def _as_seen(value: Any) -> Any:  # Any: whatever was sent, not yet validated
    if not isinstance(value, str):
        return value
    if _CONTROL.search(value):
        raise ValueError("control characters are not allowed")
    return texts.normal(value)


Text = Annotated[str, BeforeValidator(_as_seen)]
"""A string a person typed, composed (NFC) and without invisible characters. Control characters are refused: signing
libraries write them differently, and those that change the direction of writing (Unicode Standard Annex 9, §2) make a
page or an e-mail read as something else. Marks of direction and right-to-left scripts are taken."""


def _one_address(value: str) -> str:
    address_of(value)
    return value


Email = Annotated[Text, AfterValidator(_one_address), Field(max_length=LONGEST, json_schema_extra={"format": "email"})]
"""Exactly one e-mail address, to which an e-mail can be sent."""


IS_SECRET: Final = object()

Secret = Annotated[str, IS_SECRET, Field(json_schema_extra={"format": "password", "writeOnly": True})]
"""A secret a person typed, as a member of a request's body: no digest of it is stored with the request's reply,
so where the operation takes an Idempotency-Key `Router.same_secrets` compares it."""


LARGEST = 2**31 - 1
"""The largest number an integer column holds: the bound of a whole number in a request, where none is more natural."""


class RequestModel(BaseModel):
    """What a person or partner sends: unknown fields are refused, so that nobody sets what is not theirs to set."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class View(BaseModel):
    """What we answer, read from a row or a dataclass."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


def describe_as_base(schema: dict[str, Any], model: type[BaseModel]) -> None:  # Any: JSON
    """Describe a model without a docstring by its base's: `json_schema_extra` of a generic model, whose parametrized
    classes would stand in the OpenAPI document without any."""
    schema.setdefault("description", inspect.getdoc(model))


class Money(View):
    """A sum of money in one currency."""

    amount_minor: int = Field(description="Integer minor units, e.g. pence", examples=[49500])
    currency: str = Field(description="ISO 4217", examples=["GBP"])


__all__ = ["LARGEST", "Day", "Email", "Instant", "Money", "RequestModel", "Secret", "Text", "View"]
