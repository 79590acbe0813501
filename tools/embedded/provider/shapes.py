"""Flywire's data: statuses and their order, fields of callbacks, signatures, errors."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from embedded.provider.books import Record

MAGIC = {
    "SANDBOX_TO_GUARANTEED_STATUS": ("initiated", "processed", "guaranteed"),
    "SANDBOX_TO_DELIVERED_STATUS": ("initiated", "processed", "guaranteed", "delivered"),
    "SANDBOX_TO_CANCEL_STATUS": ("initiated", "cancelled"),
    "SANDBOX_CANCELLED_BACK_TO_PROCESS_STATUS": (
        "initiated",
        "cancelled",
        "initiated",
        "processed",
        "guaranteed",
        "delivered",
    ),
    "SANDBOX_TO_VERIFICATION_FAILED": ("initiated", "processed", "cancelled"),
}
"""The statuses of a payment by the payer's first name, as Flywire's own sandbox has it."""

LIVES = {
    "card": ("initiated", "processed", "guaranteed", "delivered"),
    "bank_transfer": ("initiated", "guaranteed", "delivered"),
}
AT_ONCE = {"initiated", "processed"}
ACTIVE_REFUND = {"initiated", "received"}
FINAL_REFUND = {"finished", "cancelled", "returned"}
REFUND_ENDS = {"finished": {"received", "returned"}, "returned": {"received"}, "cancelled": set[str]()}
"""What may follow a refund's final status (documented: a bank sends a refund back, or the provider tries it again)."""
DECLINED = {"cancelled", "failed", "reversed"}
PENDING = {"initiated", "authorized", "adjusted"}
CHARGED = {"processed", "guaranteed", "delivered"}


class NotPossible(Exception):
    """A request that the provider refuses; answered as problem JSON."""

    def __init__(self, status: int, type_: str, message: str, param: str = "") -> None:
        super().__init__(message)
        self.status, self.type, self.message, self.param = status, type_, message, param


@dataclass
class CallbackMode:
    """How callbacks go out at the moment; set by the control API."""

    mode: str = "deliver"
    """deliver, drop (lost on the way, never retried), hold (until released)."""
    copies: int = 1
    delay_seconds: float = 0.0


@dataclass
class NextFailure:
    """How the next calls of an operation fail."""

    operation: str
    times: int
    seconds: float
    """How long it takes until the answer; the client may have given up before."""
    takes_effect: bool
    status: int


PAYMENT_CALLBACK_FIELDS: Sequence[str] = (
    "payment_id",
    "amount_from",
    "currency_from",
    "amount_to",
    "currency_to",
    "status",
    "external_reference",
    "country",
    "payment_method",
    "fields",
    "payer",
    "reason_code",
)
REFUND_CALLBACK_FIELDS: Sequence[str] = (
    "refund_id",
    "payment_id",
    "amount",
    "currency",
    "status",
    "external_reference",
)


def sign(body: bytes, secret: str) -> str:
    """Return the value of the header X-Flywire-Digest: base64(HMAC-SHA256(raw body, shared secret))."""
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


def public(record: Record) -> dict[str, Any]:  # Any: JSON
    """Return the part of a payment or refund that the API shows."""
    hidden = {"plan", "step_at", "session_id", "history", "notifications_url"}
    return {name: value for name, value in record.items() if name not in hidden}


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def instant(written: str) -> datetime:
    return datetime.fromisoformat(written)
