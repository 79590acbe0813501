"""A learner's record: credit, awards, money, what is pending."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from credentials import tables
from credentials.domain import options, regulations
from credentials.domain.awards import STANDING
from credentials.domain.credit import Credit, CreditStatus, Source

T = TypeVar("T")
Transferred = Literal[CreditStatus.COMMITTED, CreditStatus.CONSUMED]


@dataclass(frozen=True)
class Line:
    """A line of the ledger with what became of it."""

    credit: tables.Credit
    revocation: tables.Revocation | None
    badge: tables.Badge | None
    """The live one: what was revoked stays so."""
    subject: str
    """The award name in use now, where the subject was renamed."""


@dataclass(frozen=True)
class Record:
    """Everything known of one learner's credit, from which all else is derived."""

    learner_id: UUID
    lines: Sequence[Line]
    awards: Sequence[tables.Award]
    allocations: Mapping[UUID, frozenset[UUID]]
    """Award -> the credit it stands on, whether or not it still holds it."""
    pinned: frozenset[str]
    transferred: Mapping[UUID, Transferred]
    """Credit that a degree elsewhere holds."""

    @property
    def revoked(self) -> frozenset[UUID]:
        return frozenset(line.credit.credit_id for line in self.lines if line.revocation is not None)

    def facts(self) -> list[Credit]:
        """The credit as the rules see it, under the subjects' present names."""
        return [
            Credit(
                id=str(line.credit.credit_id),
                family=line.credit.family,
                subject=line.subject,
                credits=line.credit.credits,
                level=line.credit.level,
                mark=line.credit.mark,
                passed_at=line.credit.ratified_at,
                status=self._status(line),
                source=Source(line.credit.source),
            )
            for line in self.lines
        ]

    def _status(self, line: Line) -> CreditStatus:
        if line.revocation is not None:
            return CreditStatus.REVOKED
        return self.transferred.get(line.credit.credit_id, CreditStatus.RATIFIED)

    def standing_awards(self) -> list[options.Award]:
        return [
            options.Award(
                id=str(award.award_id),
                level=award.level,
                title=award.title,
                credit_ids=frozenset(map(str, self.allocations.get(award.award_id, frozenset()))),
            )
            for award in self.awards
            if award.state in STANDING
        ]

    def versions(self, now: datetime) -> tuple[regulations.Regulations, ...]:
        return regulations.claimable(self.pinned, now)

    def options(self, now: datetime) -> dict[str, tuple[options.Option, ...]]:
        return options.options(self.facts(), self.standing_awards(), self.versions(now))


async def record_of(session: AsyncSession, learner_id: UUID, now: datetime) -> Record:
    return (await records_of(session, [learner_id], now))[learner_id]


async def records_of(session: AsyncSession, learner_ids: Collection[UUID], now: datetime) -> dict[UUID, Record]:
    """Four statements, however many learners: this is asked with every fact and every look at one's options."""
    if not learner_ids:
        return {}
    wanted = list(learner_ids)
    lines, awards = await _ledger_of(session, wanted, now), await _awards_of(session, wanted)
    pins, transferred = await _pins_of(session, wanted), await _transferred(session, wanted)
    return {
        learner_id: Record(
            learner_id=learner_id,
            lines=lines.get(learner_id, []),
            awards=[award for award, _ in awards.get(learner_id, [])],
            allocations={award.award_id: credit_ids for award, credit_ids in awards.get(learner_id, [])},
            pinned=frozenset(pins.get(learner_id, [])),
            transferred=dict(transferred.get(learner_id, [])),
        )
        for learner_id in wanted
    }


def _by_learner(rows: Iterable[tuple[UUID, T]]) -> dict[UUID, list[T]]:
    found: dict[UUID, list[T]] = {}
    for learner_id, row in rows:
        found.setdefault(learner_id, []).append(row)
    return found


async def _pins_of(session: AsyncSession, learner_ids: list[UUID]) -> dict[UUID, list[str]]:
    pin = tables.Pin
    statement = select(pin.learner_id, pin.regulations_version).where(pin.learner_id.in_(learner_ids)).distinct()
    return _by_learner((row[0], row[1]) for row in await session.execute(statement))


def is_in_force() -> ColumnElement[bool]:
    """Of a revocation: no later one takes its place, and no reinstatement has undone it."""
    this, later, undone = tables.Revocation, aliased(tables.Revocation), tables.Reinstatement
    return ~or_(
        exists().where(later.credit_id == this.credit_id, later.revoked_at > this.revoked_at).correlate(this),
        exists().where(undone.credit_id == this.credit_id, undone.reinstated_at >= this.revoked_at).correlate(this),
    )


async def _ledger_of(session: AsyncSession, learner_ids: list[UUID], now: datetime) -> dict[UUID, list[Line]]:
    credit, renamed = tables.Credit, tables.SubjectName
    present_name = (
        select(renamed.award_name)
        .where(renamed.subject_id == credit.subject_id, renamed.effective_from <= now)
        .order_by(renamed.effective_from.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        select(credit, tables.Revocation, tables.Badge, func.coalesce(present_name, credit.subject_name))
        .select_from(credit)
        .outerjoin(tables.Revocation, and_(tables.Revocation.credit_id == credit.credit_id, is_in_force()))
        .outerjoin(tables.Badge, and_(tables.Badge.credit_id == credit.credit_id, tables.Badge.revoked_at.is_(None)))
        .where(credit.learner_id.in_(learner_ids))
    )
    rows = await session.execute(statement)
    return _by_learner((row[0].learner_id, Line(row[0], row[1], row[2], row[3])) for row in rows)


async def _awards_of(
    session: AsyncSession, learner_ids: list[UUID]
) -> dict[UUID, list[tuple[tables.Award, frozenset[UUID]]]]:
    statement = (
        select(
            tables.Award,
            func.array_agg(tables.Allocation.credit_id).filter(tables.Allocation.credit_id.is_not(None)),
        )
        .outerjoin(tables.Allocation, tables.Allocation.award_id == tables.Award.award_id)
        .where(tables.Award.learner_id.in_(learner_ids))
        .group_by(tables.Award.award_id)
        .order_by(tables.Award.claimed_at)
    )
    rows = await session.execute(statement)
    return _by_learner((row[0].learner_id, (row[0], frozenset(row[1] or ()))) for row in rows)


async def _transferred(session: AsyncSession, learner_ids: list[UUID]) -> dict[UUID, list[tuple[UUID, Transferred]]]:
    line, transfer = tables.TransferLine, tables.Transfer
    rows = await session.execute(
        select(transfer.learner_id, line.credit_id, line.state)
        .join(transfer, transfer.transfer_id == line.transfer_id)
        .where(transfer.learner_id.in_(learner_ids), line.state.in_((CreditStatus.COMMITTED, CreditStatus.CONSUMED)))
    )
    return _by_learner(
        (row[0], (row[1], CreditStatus.CONSUMED if row[2] == CreditStatus.CONSUMED else CreditStatus.COMMITTED))
        for row in rows
    )


async def allocations_of(session: AsyncSession, award_ids: Sequence[UUID]) -> dict[UUID, frozenset[UUID]]:
    if not award_ids:
        return {}
    found: dict[UUID, set[UUID]] = {}
    rows = await _all(session, select(tables.Allocation).where(tables.Allocation.award_id.in_(award_ids)))
    for row in rows:
        if row.award_id is not None:
            found.setdefault(row.award_id, set()).add(row.credit_id)
    return {award_id: frozenset(credit_ids) for award_id, credit_ids in found.items()}


async def is_on_hold(session: AsyncSession, learner_id: UUID) -> bool:
    """Whether money of any order of the learner's is gone and has not come since, or is in dispute, or a case of
    misconduct is open."""
    payment, dispute, case = tables.Payment, tables.Dispute, tables.MisconductCase
    gone = exists().where(
        payment.learner_id == learner_id,
        payment.reversed_at.is_not(None),
        or_(payment.settled_at.is_(None), payment.settled_at <= payment.reversed_at),
    )
    disputed = exists().where(
        dispute.learner_id == learner_id, dispute.opened_at.is_not(None), dispute.closed_at.is_(None)
    )
    accused = exists().where(case.learner_id == learner_id, case.opened_at.is_not(None), case.closed_at.is_(None))
    return bool(await session.scalar(select(or_(gone, disputed, accused))))


async def pending_of(session: AsyncSession, learner_id: UUID) -> Sequence[tuple[tables.Result, str | None]]:
    """Released passes neither ratified nor voided, each with its course's title where the course is known."""
    ratified = select(tables.Credit.submission_id).where(tables.Credit.learner_id == learner_id)
    voided = select(tables.Voiding.submission_id).where(tables.Voiding.learner_id == learner_id)
    statement = (
        select(tables.Result, tables.Achievement.name)
        .outerjoin(tables.Achievement, tables.Achievement.achievement_id == tables.Result.course_version_id)
        .where(
            tables.Result.learner_id == learner_id,
            tables.Result.passed,
            tables.Result.submission_id.not_in(ratified.union_all(voided)),
        )
        .order_by(tables.Result.released_at)
    )
    return [(row[0], row[1]) for row in await session.execute(statement)]


def awards_query(learner_id: UUID | None, state: str | None) -> Select[tables.Award]:
    statement = select(tables.Award)
    if learner_id is not None:
        statement = statement.where(tables.Award.learner_id == learner_id)
    if state is not None:
        statement = statement.where(tables.Award.state == state)
    return statement


async def _all(session: AsyncSession, statement: Select[T]) -> Sequence[T]:
    return (await session.scalars(statement)).all()
