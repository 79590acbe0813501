"""Letters to the payer: one for each fact."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain.addresses import Addresses
from payments.domain.policy import policy_of
from payments.domain.refunds import Reason
from payments.tables import CheckoutAttempt, Order, OrderLine, Payment, Refund
from shared.mail import write_letter


async def confirm_purchase(session: AsyncSession, order: Order, lines: Sequence[OrderLine], places: Addresses) -> None:
    """What was bought, for how much, and where the receipt is. Once per order."""
    bought = "\n".join(f"  {line.title} ({line.code})  {money(line.due_minor, order.currency)}" for line in lines)
    total = money(sum(line.due_minor for line in lines), order.currency)
    await _write(
        session,
        kind="payment_confirmed",
        about=order.order_id,
        to=order.payer_email,
        subject="Your payment is confirmed",
        body=(
            f"Thank you. Your payment of {total} is confirmed. Access to the following opens within minutes:\n\n"
            f"{bought}\n\n"
            f"Total paid: {total} (exempt from VAT)\n"
            f"Receipt {order.receipt_number}: {places.receipt(order.order_id)}\n"
        ),
    )


async def tell_underpaid(session: AsyncSession, payment: Payment, attempt: CheckoutAttempt, days: int) -> None:
    await _write(
        session,
        kind="payment_underpaid",
        about=payment.payment_id,
        to=attempt.payer_email,
        subject="Your payment is less than the price"
        if payment.currency == attempt.currency
        else "Your payment came in another currency",
        body=(
            f"We received {money(payment.amount_minor, payment.currency)} where "
            f"{money(attempt.amount_minor, attempt.currency)} was due, so access could not be opened.\n\n"
            "Open the order again and pay the whole price; what has arrived then goes back to you. If you do "
            f"nothing, it goes back after {days} days.\n"
        ),
    )


async def tell_reversed(session: AsyncSession, payment: Payment, order: Order, until: datetime | None) -> None:
    """`until`: when it is too late to pay again; None where nothing of the order is left to pay."""
    again = ""
    if until is not None:
        ends = until.astimezone(policy_of(order.regulations_version).time_zone)
        again = (
            f"\n\nOpen the order and pay it again until {ends:%-d %B %Y, %H:%M}, and access is as before. After that "
            "the order and its enrolments end; the courses can then be bought anew."
        )
    await _write(
        session,
        kind="payment_reversed",
        about=f"{payment.payment_id} {payment.revision}",
        to=order.payer_email,
        subject="Your payment was withdrawn",
        body=(
            f"The payment of {money(payment.amount_minor, payment.currency)} for order {order.order_id} was withdrawn "
            f"by the payment provider. Access is suspended until this is resolved.{again}\n"
        ),
    )


async def tell_paid_again(session: AsyncSession, payment: Payment, order: Order, due: int) -> None:
    await _write(
        session,
        kind="payment_repaid",
        about=payment.payment_id,
        to=order.payer_email,
        subject="Your order is paid again",
        body=(
            f"Thank you. Your payment of {money(due, payment.currency)} for order {order.order_id} has come, and "
            "access is as before within minutes.\n"
        ),
    )


WHY: Final = {
    Reason.COOLING_OFF: "You cancelled this course within the cooling-off period.",
    Reason.ACTIVATION_IMPOSSIBLE: "Access to this course could not be opened.",
    Reason.DUPLICATE: "This order had been paid already, so this payment was not needed.",
    Reason.OVERPAID: "This is what you paid beyond the price.",
    Reason.UNDERPAID: "This payment was less than the price, or came in another currency, so it bought nothing.",
    Reason.LATE_PAYMENT: "This payment came after the order had ended, so it bought nothing.",
}


async def tell_of_refund(session: AsyncSession, refund: Refund, to: str, step: str) -> None:
    """`step` is requested, received or finished: the payer hears of each once (Flywire asks this of API clients), and
    of its end each time it is reached: it may be sent back, or fail, in between."""
    amount = money(refund.amount_minor, refund.currency)
    subject, body = {
        "requested": (
            "Your refund is on its way",
            f"A refund of {amount} was requested. It goes to where you paid from.",
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


async def tell_of_delay(session: AsyncSession, refund: Refund, to: str) -> None:
    await _write(
        session,
        kind="refund_delayed",
        about=f"{refund.refund_id} {refund.revision}",
        to=to,
        subject="Your refund is delayed",
        body=(
            f"The refund of {money(refund.amount_minor, refund.currency)} has not reached in full where you paid "
            "from, so it takes longer than usual. The money is yours all the same: we see to it, "
            "and tell you when it is paid. "
            "There is nothing you need to do.\n\n"
            f"Order: {refund.order_id}\nRefund: {refund.refund_id}\n"
        ),
    )


async def _write(session: AsyncSession, *, kind: str, about: object, to: str | None, subject: str, body: str) -> None:
    if to:  # a payer who was anonymised has no address
        await write_letter(session, kind=kind, about=about, to=to, subject=subject, body=body)


def money(amount_minor: int, currency: str) -> str:
    """As people read it. Currencies without two decimals are written in minor units, to be exact rather than pretty."""
    symbol = {"GBP": "£", "EUR": "€", "USD": "$"}.get(currency)
    if symbol is None:
        return f"{amount_minor} minor units of {currency}"
    return f"{symbol}{amount_minor // 100:,}.{amount_minor % 100:02d}"
