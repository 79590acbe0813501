"""Erase what a learner wrote about themselves; what was decided, and that somebody viewed a record, stays."""

from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.exchange.commands import sharing, transfers
from credentials.tables.prior_learning import Evidence, PriorLearning
from credentials.tables.sharing import Share
from shared.database import now as now_of


async def erase_words(session: AsyncSession, learner_id: UUID) -> None:
    """End every share, and drop purposes, statements and evidence. The caller holds the learner's advisory lock.

    A stored file that no row names any more is removed by the job that looks for orphans.
    """
    now = now_of(session)
    share = Share
    for live in await session.scalars(
        select(share)
        .where(share.learner_id == learner_id, share.withdrawn_at.is_(None))
        .order_by(share.share_id)
        .with_for_update(key_share=True)
    ):
        sharing.end_share(session, live, now)
        await transfers.end_with_share(session, live)
    await session.execute(
        update(share).where(share.learner_id == learner_id).values(purpose="", secret_sha256=None, pin_hash=None)
    )
    await session.execute(
        update(share).where(share.learner_id == learner_id, share.client_id.is_(None)).values(recipient="")
    )
    await session.execute(update(PriorLearning).where(PriorLearning.learner_id == learner_id).values(statement=""))
    await session.execute(delete(Evidence).where(Evidence.learner_id == learner_id))
