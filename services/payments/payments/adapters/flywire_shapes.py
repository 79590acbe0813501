"""Models of Flywire's answers and callbacks, and the facts read from them (developers.flywire.com)."""

import json
import re
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from payments.domain.payments import UNKNOWN_METHOD, PaymentFact, ProviderStatus
from payments.domain.refunds import ProviderRefundStatus, RefundFact
from shared.events.base import Instant
from shared.messaging.dead_lettering import printable

REFERENCE: Final = r"^[A-Za-z0-9_-]{1,100}$"  # it becomes part of a path
LONGEST: Final = 100
LONGEST_SESSION: Final = 30 * 24 * 3600  # seconds
YEARS: Final = range(2000, 9000)


_PAYMENT_STATUSES: Final = {
    "initiated": ProviderStatus.INITIATED,
    "authorized": ProviderStatus.AUTHORIZED,
    "adjusted": ProviderStatus.ADJUSTED,
    "processed": ProviderStatus.PROCESSED,
    "guaranteed": ProviderStatus.GUARANTEED,
    "delivered": ProviderStatus.DELIVERED,
    "cancelled": ProviderStatus.CANCELLED,
    "failed": ProviderStatus.FAILED,
    "reversed": ProviderStatus.REVERSED,
}
"""Flywire's statuses of payments (notifications-payment-status)."""
_REFUND_STATUSES: Final = {
    "initiated": ProviderRefundStatus.INITIATED,
    "received": ProviderRefundStatus.RECEIVED,
    "finished": ProviderRefundStatus.FINISHED,
    "cancelled": ProviderRefundStatus.CANCELLED,
    "returned": ProviderRefundStatus.RETURNED,
}
"""Flywire's statuses of refunds (use-case_refunds)."""


def payment_status(word: str) -> ProviderStatus:
    """Return what Flywire's status of a payment means; UNKNOWN where we cannot say."""
    return _PAYMENT_STATUSES.get(word, ProviderStatus.UNKNOWN)


def refund_status(word: str) -> ProviderRefundStatus:
    """Return what Flywire's status of a refund means; UNKNOWN where we cannot say."""
    return _REFUND_STATUSES.get(word, ProviderRefundStatus.UNKNOWN)


def _text(value: object) -> object:
    """Return the value, or an empty string for null, which means the same as a missing field."""
    return "" if value is None else value


# The database holds no NUL, and an index no text of any length.
_Word = Annotated[str, BeforeValidator(_text), Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Currency = Annotated[str, Field(pattern=r"^[A-Za-z]{3}$"), AfterValidator(str.upper)]


class _Method(BaseModel):
    type: _Word = ""


def _method(value: object) -> object:
    return {} if value is None else value


def _whole(value: object) -> object:
    """Check that minor units are an integer or a string of digits: "495.00" would be another amount, and is refused."""
    if isinstance(value, bool | float) or (isinstance(value, str | int) and not _DIGITS.fullmatch(str(value))):
        raise ValueError("not an integer of minor units")
    return value


_DIGITS = re.compile(r"[0-9]{1,15}")
_MinorUnits = Annotated[int, BeforeValidator(_whole), Field(ge=0)]


class Payment(BaseModel):
    payment_id: str = Field(pattern=REFERENCE)
    status: _Word = ""
    amount_to: _MinorUnits
    currency_to: _Currency
    external_reference: _Word = ""
    payment_method: Annotated[_Method, BeforeValidator(_method)] = _Method()
    reason_code: _Word = ""

    def fact(self, at: datetime) -> PaymentFact:
        return PaymentFact(
            self.payment_id,
            payment_status(self.status),
            at,
            self.amount_to,
            self.currency_to,
            self.external_reference,
            self.payment_method.type or UNKNOWN_METHOD,
            self.reason_code,
            self.status,
        )


class Refund(BaseModel):
    refund_id: str = Field(pattern=REFERENCE)
    payment_id: _Word = ""
    status: _Word = ""
    amount: _MinorUnits
    currency: Annotated[str, BeforeValidator(_text), Field(pattern=r"^([A-Za-z]{3})?$"), AfterValidator(str.upper)] = ""
    external_reference: _Word = ""

    def fact(self, at: datetime) -> RefundFact:
        return RefundFact(
            self.refund_id,
            self.payment_id,
            refund_status(self.status),
            at,
            self.amount,
            self.external_reference,
            self.currency,
            self.status,
        )


def _plausible(at: datetime) -> datetime:
    """Check that an instant is in a year that every calendar and every time zone can hold."""
    if at.year not in YEARS:
        raise ValueError("no instant of a payment")
    return at


class Callback(BaseModel):
    event_date: Annotated[Instant, AfterValidator(_plausible)]
    event_resource: _Word = ""
    data: dict[str, Any]  # Any: JSON, read by resource


def _with_host(url: str) -> str:
    """Check that an address is one that a browser can open."""
    parts = urlsplit(url)  # a ValueError where its host or port is none
    if not parts.hostname or parts.port == 0:
        raise ValueError("no address of a page")
    return url


class Form(BaseModel):
    url: Annotated[str, Field(pattern=r"^https?://[!-~]{1,2000}$"), AfterValidator(_with_host)]
    """Payers are sent there."""


class Session(BaseModel):
    id: str = Field(pattern=REFERENCE)
    hosted_form: Form
    expires_in_seconds: int = Field(ge=1, le=LONGEST_SESSION)


class Confirmed(BaseModel):
    payment_reference: str = Field(pattern=REFERENCE)


class Expired(BaseModel):
    """What it says of a session that was ended is not documented: only that it is its API that says it, in JSON."""


class Payments(BaseModel):
    payments: list[Any]  # Any: JSON; one that cannot be read must not hide the others


class RefundsOfPayment(BaseModel):
    refunds: list[Refund]
    """Each must be readable: the one that is not may be the one that is looked for."""


class Refunds(BaseModel):
    refunds: list[Any]  # Any: JSON, as above


class Problem(BaseModel):
    """A refusal in Flywire's own words: a problem document (RFC 7807) with its list of errors, which may be empty. What
    stands in front of it refuses in others, or in none; many write problem documents, too."""

    type: str = Field(min_length=1)
    title: str = Field(min_length=1)
    status: int
    errors: list[Any]  # Any: JSON, of which only that it is there is read


_NAMES: Final = {"reference": "payment_id", "refund_reference": "refund_id", "our_reference": "external_reference"}


def references_in(raw_body: bytes) -> dict[str, str]:
    """Return the references that an unreadable body names: of the payment, of the refund, and ours."""
    try:
        body: Any = json.loads(raw_body)  # Any: JSON
        found = {name: body["data"].get(theirs) for name, theirs in _NAMES.items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):  # another shape altogether
        return {}
    return {name: printable(value) for name, value in found.items() if isinstance(value, str) and len(value) <= LONGEST}
