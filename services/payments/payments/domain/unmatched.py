"""Why finance is shown an unmatched payment, and what ends it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.errors import Conflict


class UnmatchedPaymentEnded(Conflict):
    """What is over is closed once."""

    remedy = "Nothing is left to do: it has ended."


class Why(StrEnum):
    UNKNOWN_REFERENCE = "unknown_reference"
    UNKNOWN_REFUND = "unknown_refund"
    UNKNOWN_STATUS = "unknown_status"
    NOT_UNDERSTOOD = "not_understood"
    NOTHING_PAID = "nothing_paid"
    AMOUNT_CHANGED = "amount_changed"
    BOOKS_DIFFER = "books_differ"
    DIFFERS_FROM_PROVIDER = "differs_from_provider"
    NOT_AT_PROVIDER = "not_at_provider"
    PAID_AFTER_LOST_DISPUTE = "paid_after_lost_dispute"
    PAID_OUT_TOO_MUCH = "paid_out_too_much"
    REFUNDED_TOO_LITTLE = "refunded_too_little"
    REFUNDED_TWICE = "refunded_twice"
    RESTORED_AFTER_LOSS = "restored_after_loss"
    TAKEN_BACK_WITHOUT_DISPUTE = "taken_back_without_dispute"


ENDED_BY: Final[Mapping[Why, str]] = {
    Why.UNKNOWN_REFERENCE: "the payment is found to be of one of our checkouts, or comes to nothing",
    Why.UNKNOWN_REFUND: "the refund is found to be ours, or comes to nothing",
    Why.UNKNOWN_STATUS: "it comes with a status that we know",
    Why.NOT_UNDERSTOOD: "the provider reports of it what can be read",
    Why.NOTHING_PAID: "something is paid, or the payment dies",
    Why.AMOUNT_CHANGED: "the provider reports again the sum that was used",
    Why.BOOKS_DIFFER: "the next comparison finds no difference",
    Why.DIFFERS_FROM_PROVIDER: "the next comparison finds no difference",
    Why.NOT_AT_PROVIDER: "the provider reports it",
    Why.PAID_AFTER_LOST_DISPUTE: "the payment dies at the provider too, or a later dispute about it is not lost",
    Why.PAID_OUT_TOO_MUCH: "it comes back, or is owed after all",
    Why.REFUNDED_TOO_LITTLE: "the rest is paid, or no more owed",
    Why.REFUNDED_TWICE: "what was too much is taken back",
    Why.RESTORED_AFTER_LOSS: "the money is paid out to us, or gone again",
    Why.TAKEN_BACK_WITHOUT_DISPUTE: "the payment is there again, or a later dispute about it is lost",
}
"""What ends each by itself; a person in finance may close any of them."""
