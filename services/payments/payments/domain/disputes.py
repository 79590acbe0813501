"""Disputes: the payer asks their bank for the money back. The provider reports none; finance enters what it learns."""

from collections.abc import Collection
from enum import StrEnum

from shared.errors import Conflict, Invalid


class UnknownDisputeReason(Invalid):
    """The regulations name the reasons of a dispute."""

    remedy = "Give one of the reasons that the regulations name."


class DisputeAlreadyOpen(Conflict):
    """A payment is disputed once at a time."""

    remedy = "Go on with the dispute that is open."


class DisputeAlreadyClosed(Conflict):
    """A dispute ends once; if it begins again it is another one."""

    remedy = "Open another dispute, and name the payment in `payment_reference`: the one closed last counts."


class PaymentNotReceived(Conflict):
    """Only money that came can be asked back from the bank."""

    remedy = "Look in the order's `payments` for the one that the bank names."


class OrderInDispute(Conflict):
    """While the bank decides about the money, none of it is given back."""

    remedy = "Wait until the dispute is closed."


class DisputeOutcome(StrEnum):
    """How a bank closed a dispute.

    - `won`: the money stays with us.
    - `lost`: the bank took it back.
    - `withdrawn`: the payer no longer asks for it.
    """

    WON = "won"
    LOST = "lost"
    WITHDRAWN = "withdrawn"


CHARGEBACK = "chargeback"
"""The reason code of money that a lost dispute took."""


def check_reason(reason_code: str, known: Collection[str]) -> None:
    """Check that a dispute's reason is one that the regulations name. Raises UnknownDisputeReason."""
    if reason_code not in known:
        raise UnknownDisputeReason(f"the reasons are: {', '.join(sorted(known))}", reason_codes=sorted(known))
