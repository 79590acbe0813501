"""Writing in the books."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.domain import ledger
from payments.domain.ledger import Account
from payments.tables import Entry, Payment, Posting
from shared.database import now


async def post(session: AsyncSession, kind: str, payment: Payment, *, refund_id: UUID | None = None) -> int:
    """Post what is different now of a payment, under the name of what happened; the loss it has brought in all.

    What stands in the books is compared with what is true, so that facts may come in any order and twice. Where nothing
    is different nothing is posted. The order must be locked.
    """
    await session.flush()
    wanted = ledger.books(await queries.standing(session, payment))
    held = await queries.balances(session, payment.payment_id)
    for currency, entries in ledger.differences(wanted, payment.currency, held).items():
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
    return wanted.get(Account.LOSSES, 0)
