"""E-mails to the payer: one for each fact."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain.policy import policy_of
from payments.domain.public_urls import PublicUrls
from payments.domain.refunds import Reason
from payments.tables import CheckoutAttempt, Order, OrderLine, Payment, Refund
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


async def email_underpaid(session: AsyncSession, payment: Payment, attempt: CheckoutAttempt, days: int) -> None:
    """E-mail that a payment is less than the price, and goes back after so many days."""
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
            f"{money_text(attempt.amount_minor, attempt.currency)} was due, so access could not be opened.\n\n"
            "Open the order again and pay the whole price; what has arrived then goes back to you. If you do "
            f"nothing, it goes back after {days} days.\n"
        ),
    )


async def email_reversed(session: AsyncSession, payment: Payment, order: Order, until: datetime | None) -> None:
    """E-mail that a payment was taken back. `until`: when it is too late to pay again; None where nothing of the order
    is left to pay."""
    again = ""
    if until is not None:
        policy = policy_of(order.regulations_version)
        again = (
            f"\n\nOpen the order and pay it again until {policy.day(until)}, "
            f"{until.astimezone(policy.time_zone):%H:%M}, and access is as before. After that the order and its "
            "enrolments end; the courses can then be bought anew."
        )
    await _write_of_payment(
        session,
        payment,
        order,
        kind="payment_reversed",
        subject="Your payment was withdrawn",
        body="The payment of {} was withdrawn by the payment provider. Access is suspended until this is resolved."
        + again,
    )


async def email_paid_again(session: AsyncSession, payment: Payment, order: Order, due: int) -> None:
    """E-mail that an order whose payment was taken back is paid again."""
    await _write_of_payment(
        session,
        payment,
        order,
        kind="payment_repaid",
        subject="Your order is paid again",
        body="Thank you. Your payment of {} has come, and access is as before within minutes.",
        amount=due,
        once=True,
    )


async def email_restored(session: AsyncSession, payment: Payment, order: Order) -> None:
    """E-mail that a payment which was taken back is there again."""
    await _write_of_payment(
        session,
        payment,
        order,
        kind="payment_restored",
        subject="Your payment is back",
        body="The payment of {}, which was withdrawn, is there again, and access is as before within minutes. What has "
        "ended meanwhile is not opened again: the money for it goes back to you.",
    )


async def email_no_payment(session: AsyncSession, payment: Payment, attempt: CheckoutAttempt, *, payable: bool) -> None:
    """E-mail that a payment ended without money. `payable`: the order still waits for its money."""
    again = " Open the order again to pay it." if payable else ""
    await _write(
        session,
        kind="payment_of_nothing",
        about=payment.payment_id,
        to=attempt.payer_email,
        subject="Nothing was paid",
        body=f"Your payment {payment.reference} ended without any money: nothing was charged.{again}\n",
    )


WHY: Final = {
    Reason.COOLING_OFF: "You cancelled this course within the cooling-off period.",
    Reason.ACTIVATION_IMPOSSIBLE: "Access to this course could not be opened.",
    Reason.DUPLICATE: "This order had been paid already, so this payment was not needed.",
    Reason.OVERPAID: "This is what you paid beyond the price.",
    Reason.UNDERPAID: "This payment was less than the price, or came in another currency, so it bought nothing.",
    Reason.ALREADY_BOUGHT: "You have bought this already.",
    Reason.LATE_PAYMENT: "This payment came after the order had ended, so it bought nothing.",
    Reason.GOODWILL: "We decided to give you back what you paid for this course.",
    Reason.COMPLAINT: "We decided so on your complaint about this course.",
}


async def email_refund(session: AsyncSession, refund: Refund, to: str, step: str, *, waits: bool = False) -> None:
    """E-mail that a refund has reached a step: requested, received or finished.

    Each step is e-mailed once (the provider asks this of us), but `finished` each time it is reached: the money may be
    sent back, or the refund fail, in between. `waits`: nothing of the payment can be sent back yet.
    """
    amount = money_text(refund.amount_minor, refund.currency)
    subject, body = {
        "requested": (
            "Your refund was requested" if waits else "Your refund is on its way",
            f"A refund of {amount} was requested. It goes to where you paid from"
            + (", once your payment has been paid out to us and no bank has been asked for it." if waits else "."),
        ),
        "received": ("Your refund is being paid", f"The payment provider has received the refund of {amount}."),
        "finished": ("Your refund was paid", f"The refund of {amount} was paid to where you paid from."),
    }[step]
    await _write(
        session,
        kind=f"refund_{step}",
        about=f"{refund.refund_id} {refund.revision}" if step == "finished" else refund.refund_id,
        to=to,
        subject=subject,
        body=f"{body} {WHY[Reason(refund.reason_code)]}\n\nOrder: {refund.order_id}\nRefund: {refund.refund_id}\n",
    )


async def email_delay(session: AsyncSession, refund: Refund, to: str) -> None:
    """E-mail that a refund takes longer than usual."""
    await _write(
        session,
        kind="refund_delayed",
        about=f"{refund.refund_id} {refund.revision}",
        to=to,
        subject="Your refund is delayed",
        body=(
            f"The refund of {money_text(refund.amount_minor, refund.currency)} has not reached in full where you paid "
            "from, so it takes longer than usual. The money is yours all the same: we see to it, "
            "and tell you when it is paid. "
            "There is nothing you need to do.\n\n"
            f"Order: {refund.order_id}\nRefund: {refund.refund_id}\n"
        ),
    )


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
        body=body.format(f"{what} for order {order.order_id}") + "\n",
    )


async def _write(session: AsyncSession, *, kind: str, about: object, to: str | None, subject: str, body: str) -> None:
    if to:  # a payer who was anonymised has no address
        await enqueue_email(session, kind=kind, about=about, to=to, subject=subject, body=body)
