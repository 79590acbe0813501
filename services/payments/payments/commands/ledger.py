"""Writing in the books."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain.ledger import Entries
from payments.tables import Entry, Payment, Posting
from shared.database import now


async def post(
    session: AsyncSession,
    kind: str,
    payment: Payment,
    entries: Entries,
    *,
    refund_id: UUID | None = None,
    revision: object = None,
) -> None:
    """Post what happened to a payment, or to a refund of it, once per applied fact; entries of nothing are left out.

    `revision` tells apart what may happen to the same refund again.
    """
    cause = f"{kind} {refund_id or payment.payment_id} {revision or payment.revision}"
    posting = Posting(
        cause=cause,
        kind=kind,
        order_id=payment.order_id,
        payment_id=payment.payment_id,
        refund_id=refund_id,
        currency=payment.currency,
        posted_at=now(session),
    )
    session.add(posting)
    await session.flush()
    session.add_all(
        Entry(posting_no=posting.posting_no, account=account, amount_minor=amount)
        for account, amount in entries.items()
        if amount
    )
    await session.flush()
