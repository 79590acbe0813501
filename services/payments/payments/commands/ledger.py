"""Posts to the ledger what a payment's books should show and do not yet."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands import unmatched
from payments.domain import ledger
from payments.domain.ledger import Account
from payments.queries import books
from payments.tables import Entry, Payment, Posting
from shared.database import now


async def post(session: AsyncSession, kind: str, payment: Payment, *, refund_id: UUID | None = None) -> None:
    """Post what has changed of a payment, under the name of what happened, and show finance what the payer has too
    much, for as long as they have it.

    The books are compared with where the payment's money stands, so that facts may come in any order and twice. Where
    nothing differs nothing is posted. The order must be locked.
    """
    await session.flush()
    position = await books.position(session, payment)
    wanted, booked = ledger.books(position), await books.balances(session, payment.payment_id)
    for currency, entries in ledger.differences(wanted, payment.currency, booked).items():
        before = await session.scalar(
            select(func.count()).select_from(Posting).where(Posting.payment_id == payment.payment_id)
        )
        posting = Posting(
            cause=f"{kind} {refund_id or payment.payment_id} #{before}",
            kind=kind,
            order_id=payment.order_id,
            payment_id=payment.payment_id,
            refund_id=refund_id,
            currency=currency,
            posted_at=now(session),
        )
        session.add(posting)
        await session.flush()
        session.add_all(
            Entry(posting_no=posting.posting_no, account=account, amount_minor=amount)
            for account, amount in entries.items()
        )
        await session.flush()
    if any(entries.get(Account.LOSSES) for entries in (wanted, *booked.values())):
        await unmatched.show_loss(session, payment, ledger.paid_out_too_much(position))
