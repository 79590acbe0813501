"""E-mails to the payer: one for each fact. Each names the courses, and where something is to be done, the address that
the payer was sent back to from paying: people have the order there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain.disputes import CHARGEBACK
from payments.domain.policy import policy_of
from payments.domain.public_urls import PublicUrls
from payments.domain.refunds import Reason
from payments.queries.orders import lines_of
from payments.tables import CheckoutAttempt, Dispute, Order, OrderLine, Payment, Refund
from shared.database import fetch
from shared.emails import enqueue_email
from shared.money import money_text


async def confirm_purchase(
    session: AsyncSession,
    order: Order,
    lines: Sequence[OrderLine],
    public_urls: PublicUrls,
    *,
    unsold: Sequence[OrderLine] = (),
) -> None:
    """E-mail what was bought, for how much, and where the receipt is; once per order. `unsold`: what was paid for and
    goes back."""
    back = f"This goes back to you, as an e-mail of its own says:\n\n{_listed(order, unsold)}\n\n" if unsold else ""
    total = money_text(sum(line.due_minor for line in [*lines, *unsold]), order.currency)
    policy = policy_of(order.regulations_version)
    await _write(
        session,
        kind="payment_confirmed",
        about=order.order_id,
        to=order.payer_email,
        subject="Your payment is confirmed",
        body=(
            f"Thank you. Your payment of {total} is confirmed. Access to the following opens within minutes:\n\n"
            f"{_listed(order, lines)}\n\n"
            f"{back}"
            f"Total paid: {total}\nVAT: {policy.vat_treatment}. {policy.vat_reason}\n"
            f"Receipt {order.receipt_number}: {public_urls.receipt(order.order_id)}\n"
        ),
    )


def _listed(order: Order, lines: Sequence[OrderLine]) -> str:
    return "\n".join(f"  {line.title} ({line.code})  {money_text(line.due_minor, order.currency)}" for line in lines)


def _until(order: Order) -> str:
    """Return until when an order can be paid, in words."""
    policy = policy_of(order.regulations_version)
    return f"{policy.day(order.expires_at)}, {order.expires_at.astimezone(policy.time_zone):%H:%M}"


async def email_underpaid(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, lines: Sequence[OrderLine]
) -> None:
    """E-mail that a payment is less than the price, and goes back once the order ends unpaid."""
    await _write(
        session,
        kind="payment_underpaid",
        about=payment.payment_id,
        to=attempt.payer_email,
        subject="Your payment is less than the price"
        if payment.currency == attempt.currency
        else "Your payment came in another currency",
        body=(
            f"We received {money_text(payment.amount_minor, payment.currency)} where "
            f"{money_text(attempt.amount_minor, attempt.currency)} was due, so access to the following could not be "
            f"opened:\n\n{_listed(order, lines)}\n\n"
            f"Open the order again and pay the whole price until {_until(order)}; what has arrived then goes back to "
            f"you: {attempt.return_url}\n\n"
            f"If you do nothing, it goes back after that.\n\nOrder: {order.order_id}\n"
        ),
    )


async def email_reversed(session: AsyncSession, payment: Payment, order: Order, owed: Sequence[OrderLine]) -> None:
    """E-mail that a payment was taken back. `owed`: the lines that did not go back to the payer, and can be paid again
    until the order expires."""
    by = "your bank, which decided for you" if payment.reason_code == CHARGEBACK else "the payment provider"
    again = "Nothing of the order is left to pay."
    if owed:
        attempt = await fetch(session, CheckoutAttempt, payment.attempt_id)
        due = money_text(sum(line.due_minor for line in owed), order.currency)
        again = (
            f"Access to the following is suspended until this is resolved:\n\n{_listed(order, owed)}\n\n"
            f"{due} is due for it. Open the order and pay that until {_until(order)}, and access is as before: "
            f"{attempt.return_url}\n\nAfter that the order and its enrolments end; the courses can then be bought anew."
        )
    await _write_of_payment(
        session,
        payment,
        order,
        kind="payment_reversed",
        subject="Your payment was withdrawn",
        body=f"The payment of {{}} was withdrawn by {by}.\n\n{again}",
    )


async def email_disputed(session: AsyncSession, dispute: Dispute, order: Order, lines: Sequence[OrderLine]) -> None:
    """E-mail that access to these lines is suspended, as the payer's bank is asked for their money."""
    await _write(
        session,
        kind="dispute_opened",
        about=dispute.dispute_id,
        to=order.payer_email,
        subject="Your payment is disputed",
        body=(
            f"Your bank was asked to take back a payment for order {order.order_id}. Until that is decided, access to "
            f"the following is suspended; nothing can be handed in:\n\n{_listed(order, lines)}\n\n"
            "If this was a mistake, ask your bank to withdraw it as soon as you can: deadlines for handing in go on, "
            "and may pass meanwhile. We e-mail you once it is decided.\n"
        ),
    )


async def email_dispute_over(session: AsyncSession, dispute: Dispute, order: Order, lines: Sequence[OrderLine]) -> None:
    """E-mail that access to these lines is as before, as their money stays."""
    await _write(
        session,
        kind="dispute_closed",
        about=dispute.dispute_id,
        to=order.payer_email,
        subject="Your payment is disputed no more",
        body=(
            f"The dispute about a payment for order {order.order_id} is over, and the money stays. Within minutes, "
            f"access to the following is as before:\n\n{_listed(order, lines)}\n\n"
            "Look whether a deadline passed meanwhile; if one did, write to the address below.\n"
        ),
    )


async def email_paid_again(
    session: AsyncSession, payment: Payment, order: Order, due: int, lines: Sequence[OrderLine]
) -> None:
    """E-mail that an order whose payment was taken back is paid again."""
    await _write_of_payment(
        session,
        payment,
        order,
        kind="payment_repaid",
        subject="Your order is paid again",
        body="Thank you. Your payment of {} has come. Within minutes, access to the following is as before:\n\n"
        + _listed(order, lines),
        amount=due,
        once=True,
    )


async def email_restored(session: AsyncSession, payment: Payment, order: Order, lines: Sequence[OrderLine]) -> None:
    """E-mail that a payment which was taken back is there again."""
    access = f"Within minutes, access to the following is as before:\n\n{_listed(order, lines)}\n\n" if lines else ""
    await _write_of_payment(
        session,
        payment,
        order,
        kind="payment_restored",
        subject="Your payment is back",
        body="The payment of {}, which was withdrawn, is there again. "
        + access
        + "What has ended meanwhile is not opened again: the money for it goes back to you.",
    )


async def email_no_payment(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, *, payable: bool
) -> None:
    """E-mail that a payment ended without money. `payable`: the order still waits for its money."""
    again = f"\n\nOpen the order again to pay it, until {_until(order)}: {attempt.return_url}" if payable else ""
    lines = (await lines_of(session, [order.order_id]))[order.order_id]
    await _write(
        session,
        kind="payment_of_nothing",
        about=payment.payment_id,
        to=attempt.payer_email,
        subject="Nothing was paid",
        body=(
            f"Your payment {payment.reference} ended without any money: nothing was charged. It was for:\n\n"
            f"{_listed(order, lines)}{again}\n"
        ),
    )


WHY: Final = {
    Reason.COOLING_OFF: "You cancelled this course within the cooling-off period.",
    Reason.ACTIVATION_IMPOSSIBLE: "Access to this course could not be opened.",
    Reason.DUPLICATE: "This order had been paid already, so this payment was not needed.",
    Reason.OVERPAID: "This is what you paid beyond the price.",
    Reason.UNDERPAID: "This payment was less than the price, or came in another currency, so it bought nothing.",
    Reason.ALREADY_BOUGHT: "You have bought this already.",
    Reason.LATE_PAYMENT: "This payment came after the order, or what was in it, had ended, so it bought nothing.",
    Reason.GOODWILL: "We decided to give you back what you paid for this course.",
    Reason.NOT_PAID_FOR: "This payment did not pay for this course.",
    Reason.COMPLAINT: "We decided so on your complaint about this course.",
}


WAITS: Final = {
    "payment": ", once your payment has been paid out to us and no bank has been asked for it",
    "turn": ", once another refund of the same payment is through: the payment provider takes them one at a time",
    None: "",
}
"""Until what a refund that was requested is not sent."""


async def email_refund(
    session: AsyncSession, refund: Refund, to: str, step: str, *, waits: Literal["payment", "turn"] | None = None
) -> None:
    """E-mail that a refund has reached a step: requested, received or finished.

    Each step is e-mailed once (the provider asks this of us), but `finished` each time it is reached: the money may be
    sent back, or the refund fail, in between. `waits`: for what it waits, a key of WAITS.
    """
    amount = await _refunded(session, refund)
    subject, body = {
        "requested": (
            "Your refund was requested",
            f"A refund of {amount} was requested. It goes to where you paid from{WAITS[waits]}.",
        ),
        "received": ("Your refund is being paid", f"The payment provider has received the refund of {amount}."),
        "finished": ("Your refund was paid", f"The refund of {amount} was paid to where you paid from."),
    }[step]
    about = f"{refund.refund_id} {refund.revision}" if step == "finished" else refund.refund_id
    body = f"{body} {WHY[Reason(refund.reason_code)]}"
    await _write_of_refund(session, refund, to, kind=f"refund_{step}", about=about, subject=subject, body=body)


async def email_given_back(session: AsyncSession, refund: Refund, to: str) -> None:
    """E-mail that finance gave back a line whose payment is lost: nothing is due for it, and nothing goes back yet."""
    await _write_of_refund(
        session,
        refund,
        to,
        kind="line_given_back",
        about=str(refund.refund_id),
        subject="Nothing is due any more for a course",
        body=f"Your payment was taken back, and we decided to ask no more for {await _refunded(session, refund)}. "
        "Access to it has ended. Should the payment come after all, that goes back to where you paid from.",
    )


DELAYS: Final = {
    "unpaid": "The refund of {} has not reached in full where you paid from, so it takes longer than usual.",
    "unanswered": "We have asked the payment provider to pay the refund of {}, and it has not answered yet. We go on "
    "asking.",
    "behind": "The refund of {} waits for another one of the same payment, about which the provider has not answered "
    "yet.",
    "held": "The refund of {} could not be sent to the payment provider yet: the provider cannot be reached, or "
    "something about the payment has to be looked into first.",
}
"""Why a refund takes longer than usual."""


async def email_delay(
    session: AsyncSession,
    refund: Refund,
    to: str,
    *,
    since: datetime | None = None,
    why: Literal["unpaid", "unanswered", "behind", "held"] = "unpaid",
) -> None:
    """E-mail that a refund takes longer than usual. `since`: since when the provider does not have it, or has not said
    so, of which there is one e-mail, whatever the reason; `why`: a key of DELAYS."""
    await _write_of_refund(
        session,
        refund,
        to,
        kind="refund_delayed",
        about=f"{refund.refund_id} {refund.revision if since is None else f'since {since.isoformat()}'}",
        subject="Your refund is delayed",
        body=f"{DELAYS[why].format(await _refunded(session, refund))} The money is yours all the same: we see to it, "
        "and tell you when it is paid. There is nothing you need to do.",
    )


async def email_refund_cancelled(session: AsyncSession, refund: Refund, payment: Payment, to: str) -> None:
    """E-mail that a refund ends unpaid, as the payment it was to come from was taken back from us."""
    by = "your bank has" if payment.reason_code == CHARGEBACK else "the payment provider has"
    await _write_of_refund(
        session,
        refund,
        to,
        kind="refund_cancelled",
        about=f"{refund.refund_id} {refund.revision}",
        subject="Your refund is cancelled",
        body=f"The refund of {await _refunded(session, refund)} is cancelled: {by} taken the whole payment back from "
        "us, so that this money is no longer ours to give back. If the payment comes back to us, the refund goes on, "
        "and we tell you so.",
    )


async def _write_of_refund(
    session: AsyncSession, refund: Refund, to: str, *, kind: str, about: object, subject: str, body: str
) -> None:
    ids = f"Order: {refund.order_id}\nRefund: {refund.refund_id}\n"
    await _write(session, kind=kind, about=about, to=to, subject=subject, body=f"{body}\n\n{ids}")


async def _refunded(session: AsyncSession, refund: Refund) -> str:
    """Return how much a refund gives back, and for which courses, in words."""
    lines = (await lines_of(session, [refund.order_id]))[refund.order_id]
    of = [line for line in lines if refund.order_line_id in {None, line.order_line_id}]
    titles = ", ".join(f"{line.title} ({line.code})" for line in of)
    return f"{money_text(refund.amount_minor, refund.currency)} for {titles}"


async def _write_of_payment(
    session: AsyncSession,
    payment: Payment,
    order: Order,
    *,
    kind: str,
    subject: str,
    body: str,
    amount: int | None = None,
    once: bool = False,
) -> None:
    """E-mail about the payment that pays the order: `{}` in the body stands for its amount and the order. `once`: one
    for each payment, else one for each of its revisions."""
    what = money_text(payment.amount_minor if amount is None else amount, payment.currency)
    await _write(
        session,
        kind=kind,
        about=payment.payment_id if once else f"{payment.payment_id} {payment.revision}",
        to=order.payer_email,
        subject=subject,
        body=body.replace("{}", f"{what} for order {order.order_id}") + "\n",
    )


async def _write(session: AsyncSession, *, kind: str, about: object, to: str | None, subject: str, body: str) -> None:
    if to:  # a payer who was anonymised has no address
        await enqueue_email(session, kind=kind, about=about, to=to, subject=subject, body=body)
