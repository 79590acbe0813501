"""Applications for recognition, their evidence, and credit from elsewhere."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.domain.credit import Source
from credentials.queries.records import is_in_force
from credentials.tables.courses import OfferedCourse
from credentials.tables.facts import Credit, Revocation, SubjectName
from credentials.tables.prior_learning import Evidence, PriorLearning
from shared.file_checks import Checked


def recognitions_query(learner_id: UUID | None, state: str | None) -> Select[PriorLearning]:
    statement = select(PriorLearning)
    if learner_id is not None:
        statement = statement.where(PriorLearning.learner_id == learner_id)
    if state is not None:
        statement = statement.where(PriorLearning.state == state)
    return statement


async def evidence_of(session: AsyncSession, recognition_id: UUID) -> Sequence[Evidence]:
    statement = select(Evidence).where(Evidence.recognition_id == recognition_id)
    return (await session.scalars(statement.order_by(Evidence.evidence_id))).all()


async def known_evidence(session: AsyncSession, keys: Sequence[str]) -> Mapping[str, Checked]:
    """Return those of these storage keys that an application names, and what it says of each file."""
    columns = select(Evidence.storage_key, Evidence.sha256, Evidence.size)
    found = await session.execute(columns.where(Evidence.storage_key.in_(keys)))
    return {key: Checked(sha256, size) for key, sha256, size in found}


async def names_any_evidence(session: AsyncSession) -> bool:
    """Return whether any application names a stored file."""
    return bool(await session.scalar(select(exists().select_from(Evidence))))


async def credit_of_prior_learning(session: AsyncSession, recognition_id: UUID) -> Sequence[Credit]:
    credit = Credit
    statement = select(credit).where(credit.board_id == recognition_id, credit.source == Source.EXTERNAL)
    return (await session.scalars(statement.order_by(credit.course_code))).all()


async def external_credits(session: AsyncSession, learner_id: UUID) -> int:
    """Return how many credits from elsewhere stand on the learner's record."""
    credit, revocation = Credit, Revocation
    revoked = exists().where(revocation.credit_id == credit.credit_id, is_in_force())
    total = await session.scalar(
        select(func.sum(credit.credits)).where(
            credit.learner_id == learner_id, credit.source == Source.EXTERNAL, ~revoked
        )
    )
    return total or 0


async def subject_name(session: AsyncSession, subject_id: UUID, now: datetime) -> str | None:
    """Return the present award name of a subject in which courses were ever offered, or None."""
    renamed, offered = SubjectName, OfferedCourse
    present = await session.scalar(
        select(renamed.award_name)
        .where(renamed.subject_id == subject_id, renamed.effective_from <= now)
        .order_by(renamed.effective_from.desc())
        .limit(1)
    )
    return present or await session.scalar(
        select(offered.subject_name).where(offered.subject_id == subject_id, offered.subject_name.is_not(None)).limit(1)
    )
