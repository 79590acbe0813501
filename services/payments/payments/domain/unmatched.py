"""Why finance is shown an unmatched payment, and what ends it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from shared.errors import Conflict


class UnmatchedPaymentEnded(Conflict):
    """What is over is closed once."""

    remedy = "Nothing is left to do: it has ended."


class ExplanationNeeded(Conflict):
    """Of a refund of our payment that we did not ask for, finance says what it paid: refunds wait for that. Of nothing
    else it is said."""

    remedy = "For an `unknown_refund` send `paid`, the refunds of ours that it paid, or `not_ours`; else neither."


class RefundOfAnotherPayment(Conflict):
    """A refund at the provider pays only what is owed from the payment that it is of."""

    remedy = "Look up at the provider of which payment it is, and name a refund of that."


class PaidAnotherRefund(Conflict):
    """Of this refund at the provider it is known which of ours it paid."""

    remedy = "Name in `paid` the refunds of ours in `refund_ids` of the answer."


class PaidMoreThanOwed(Conflict):
    """A refund at the provider is taken in as ours up to what is neither paid of them nor being paid, and the rest only
    where it is said."""

    remedy = (
        "Name all refunds of ours that it paid, and what is beyond: `not_owed_minor`; or have the provider cancel it."
    )


class PartsDoNotAddUp(Conflict):
    """What is said to have been paid by a refund at the provider is all of it, in its currency, and nothing of it is
    beyond what is owed while something is owed of a refund that is named."""

    remedy = "Give amounts that add up, with `not_owed_minor`, to `amount_minor` of the answer, or leave them out."


class Why(StrEnum):
    """Why finance is shown a payment or a message of the provider; `MEANINGS` has each in words."""

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


MEANINGS: Final[Mapping[Why, tuple[str, str]]] = {
    Why.UNKNOWN_REFERENCE: (
        (
            "a payment that names none of our checkouts: somebody else's, or, as after a restore of the database, real "
            "money of an order that was lost"
        ),
        (
            "look it up at the provider by its reference. Where it was paid to us, find out from enrolment "
            "(`feed lost payments`) or from the payer whether it has opened the course. If it has, they have what they "
            "paid for and cannot buy it beside that: leave the money, and close this with a note. If it has not, have "
            "it paid back there, ask them to order again, and close this with a note"
        ),
    ),
    Why.UNKNOWN_REFUND: (
        "a refund that we did not ask for, or that was lost when the database was set back",
        (
            "find at the provider who made it and for what, and close this with the refunds that it `paid` (where "
            "there is none, grant the line's refund first), or as `not_ours`: other refunds of the payment wait for it."
            " Of one that paid more than was owed say how much: `not_owed_minor`. One closed as `not_ours` by mistake "
            "is closed again with what it `paid`"
        ),
    ),
    Why.UNKNOWN_STATUS: ("a status that is not known here", "look at the provider what it means, and tell support"),
    Why.NOT_UNDERSTOOD: ("a message that cannot be read", "look at the provider what became of the payment"),
    Why.NOTHING_PAID: ("a payment of nothing", "ask the provider if it stays so"),
    Why.AMOUNT_CHANGED: (
        "the sum changed after it was used; our books have the first",
        "agree with the provider which is right; have a difference paid or given back there",
    ),
    Why.BOOKS_DIFFER: ("our payments and our ledger differ", "tell support: this is a fault of ours"),
    Why.DIFFERS_FROM_PROVIDER: (
        "we and the provider say different things of a payment",
        "compare both, and have the provider report it anew",
    ),
    Why.NOT_AT_PROVIDER: ("the provider's list lacks a payment that we have", "ask the provider where it is"),
    Why.PAID_AFTER_LOST_DISPUTE: (
        "the provider still reports money that the bank took",
        "ask the provider who has it; where nobody took it, open another dispute and close it as won",
    ),
    Why.PAID_OUT_TOO_MUCH: ("more was paid back than was owed", "ask for it back, or write it off"),
    Why.REFUNDED_TOO_LITTLE: ("a refund was paid in part", "send the rest: retry the refund"),
    Why.REFUNDED_TWICE: ("a refund was paid twice", "have the provider or the payer return one"),
    Why.RESTORED_AFTER_LOSS: ("lost money is reported as there again", "wait until it is paid out to us"),
    Why.TAKEN_BACK_WITHOUT_DISPUTE: (
        "the provider took it back though no dispute of ours was lost",
        "ask the provider why; enter the dispute if there is one",
    ),
}
"""What each means, and what a person in finance does about it."""

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


@dataclass(frozen=True, slots=True)
class PaidPart:
    """What a refund at the provider paid of one of ours, in minor units, as finance says it; None: as much as is owed,
    while there is any."""

    refund_id: UUID
    amount_minor: int | None = None


def shares_of(
    amount_minor: int, parts: Sequence[PaidPart], owed: Mapping[UUID, int], not_owed_minor: int
) -> Mapping[UUID, int]:
    """Return how much a refund at the provider of that amount paid of each of ours. `owed`: what is neither paid of
    each nor being paid; `not_owed_minor`: what finance says to be beyond that; all in minor units.

    Raises PaidMoreThanOwed, PartsDoNotAddUp.
    """
    shares: dict[UUID, int] = {}
    left = amount_minor - sum(one.amount_minor or 0 for one in parts)
    for part in parts:
        share = min(owed[part.refund_id], max(left, 0)) if part.amount_minor is None else part.amount_minor
        left -= share if part.amount_minor is None else 0
        if share > owed[part.refund_id]:
            raise _more_than_owed(share, owed[part.refund_id], part.refund_id)
        shares[part.refund_id] = share
    whole = all(shares[one.refund_id] == owed[one.refund_id] for one in parts)
    if whole and left > not_owed_minor:
        raise _more_than_owed(amount_minor, sum(shares.values()), *shares)
    empty = len(parts) > 1 and not all(shares.values())
    if empty or left != not_owed_minor or (left and not whole):
        raise PartsDoNotAddUp(
            f"it is of {amount_minor}, and {sum(shares.values())} is said to be of ours, {not_owed_minor} not owed",
            amount_minor=amount_minor,
            paid_minor=sum(shares.values()),
            not_owed_minor=not_owed_minor,
        )
    return shares


def _more_than_owed(amount_minor: int, owed_minor: int, *refund_ids: UUID) -> PaidMoreThanOwed:
    return PaidMoreThanOwed(
        f"it is of {amount_minor}, and {owed_minor} of what is named is neither paid nor being paid",
        amount_minor=amount_minor,
        owed_minor=owed_minor,
        refund_ids=[str(one) for one in refund_ids],
    )


def check_explanation(why: Why, *, of_our_payment: bool, explained: Collection[bool]) -> None:
    """Check that what is closed is explained, in one way, where it must be. Raises ExplanationNeeded."""
    refund = why is Why.UNKNOWN_REFUND
    if not (refund and of_our_payment) <= sum(explained) <= refund:
        raise ExplanationNeeded("it must be said of an unknown refund, and of nothing else, what it paid", reason=why)
