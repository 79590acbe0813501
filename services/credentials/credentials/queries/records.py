"""A learner's record: credit, awards, holds, and pending results."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from credentials.domain import options, regulations
from credentials.domain.awards import LIVE
from credentials.domain.credit import Credit, CreditStatus, Source
from credentials.queries.holds import is_held
from credentials.tables.awards import Allocation, Award, CreditHold
from credentials.tables.facts import (
    Achievement,
    MisconductCase,
    Pin,
    Reinstatement,
    Result,
    Revocation,
    SubjectName,
    Suspension,
    Voiding,
)
from credentials.tables.facts import Credit as CreditRow
from credentials.tables.issued import Badge
from credentials.tables.transfers import Transfer, TransferLine

T = TypeVar("T")
Transferred = Literal[CreditStatus.COMMITTED, CreditStatus.CONSUMED]


@dataclass(frozen=True)
class Line:
    """A line of the ledger, with what became of it."""

    credit: CreditRow
    revocation: Revocation | None
    hold: CreditHold | None
    """The open hold, where its money went back."""
    badge: Badge | None
    """The badge that is not revoked."""
    subject: str
    """The subject's award name in use now."""
    institution: str | None
    """The institution that teaches its course, once that is known."""


@dataclass(frozen=True)
class Record:
    """Everything known of one learner's credit, from which all else is derived."""

    learner_id: UUID
    lines: Sequence[Line]
    awards: Sequence[Award]
    allocations: Mapping[UUID, frozenset[UUID]]
    """Award id -> the credit it stands on, or stood on before it ended."""
    pinned: frozenset[str]
    transferred: Mapping[UUID, Transferred]
    """Credit that is committed to a degree elsewhere, or was consumed by it."""

    @property
    def revoked(self) -> frozenset[UUID]:
        """The credit that is revoked now."""
        return frozenset(line.credit.credit_id for line in self.lines if line.revocation is not None)

    @property
    def held(self) -> frozenset[UUID]:
        """The credit that is held now."""
        return frozenset(line.credit.credit_id for line in self.lines if line.hold is not None)

    def facts(self) -> list[Credit]:
        """Return the credit as the rules see it, under the subjects' present names."""
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
        status = self.transferred.get(line.credit.credit_id, CreditStatus.RATIFIED)
        return CreditStatus.HELD if line.hold is not None and status is not CreditStatus.CONSUMED else status

    def live_awards(self) -> list[options.Award]:
        """Return the awards that hold their title and credit, as the rules see them."""
        return [
            options.Award(
                id=str(award.award_id),
                level=award.level,
                credits=award.credits,
                title=award.title,
                credit_ids=frozenset(map(str, self.allocations.get(award.award_id, frozenset()))),
            )
            for award in self.awards
            if award.state in LIVE
        ]

    def versions(self, now: datetime) -> tuple[regulations.Regulations, ...]:
        """Return the versions of the regulations the learner may claim under, the one in force first."""
        return regulations.claimable(self.pinned, now)

    def options(self, now: datetime) -> dict[str, tuple[options.Option, ...]]:
        """Return what the learner may claim, by level code."""
        return options.options(self.facts(), self.live_awards(), self.versions(now))


async def record_of(session: AsyncSession, learner_id: UUID, now: datetime) -> Record:
    """Return everything known of a learner's credit."""
    return (await records_of(session, [learner_id], now))[learner_id]


async def records_of(session: AsyncSession, learner_ids: Collection[UUID], now: datetime) -> dict[UUID, Record]:
    """Return everything known of several learners' credit, in four statements, however many learners there are.

    It is called with every fact and every look at a learner's options.
    """
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
    pin = Pin
    statement = select(pin.learner_id, pin.regulations_version).where(pin.learner_id.in_(learner_ids)).distinct()
    return _by_learner((row[0], row[1]) for row in await session.execute(statement))


def is_in_force() -> ColumnElement[bool]:
    """Return a condition on revocations: there is no later one of the credit, and no reinstatement has undone it."""
    this, later, undone = Revocation, aliased(Revocation), Reinstatement
    return ~or_(
        exists().where(later.credit_id == this.credit_id, later.revoked_at > this.revoked_at).correlate(this),
        exists().where(undone.credit_id == this.credit_id, undone.reinstated_at >= this.revoked_at).correlate(this),
    )


async def other_credit_of(session: AsyncSession, learner_id: UUID, enrolment_id: UUID, credit_id: UUID) -> UUID | None:
    """Return other credit that stands and came from the same enrolment, or None."""
    credit, revocation = CreditRow, Revocation
    revoked = exists().where(revocation.credit_id == credit.credit_id, is_in_force())
    of_enrolment = credit.learner_id == learner_id, credit.enrolment_id == enrolment_id
    return await session.scalar(
        select(credit.credit_id).where(*of_enrolment, credit.credit_id != credit_id, ~revoked).limit(1)
    )


async def _ledger_of(session: AsyncSession, learner_ids: list[UUID], now: datetime) -> dict[UUID, list[Line]]:
    credit, renamed = CreditRow, SubjectName
    present_name = (
        select(renamed.award_name)
        .where(renamed.subject_id == credit.subject_id, renamed.effective_from <= now)
        .order_by(renamed.effective_from.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        select(
            credit,
            Revocation,
            CreditHold,
            Badge,
            func.coalesce(present_name, credit.subject_name),
            Achievement.institution,
        )
        .select_from(credit)
        .outerjoin(Achievement, Achievement.achievement_id == credit.course_version_id)
        .outerjoin(Revocation, and_(Revocation.credit_id == credit.credit_id, is_in_force()))
        .outerjoin(CreditHold, and_(CreditHold.credit_id == credit.credit_id, is_held()))
        .outerjoin(Badge, and_(Badge.credit_id == credit.credit_id, Badge.revoked_at.is_(None)))
        .where(credit.learner_id.in_(learner_ids))
    )
    rows = await session.execute(statement)
    return _by_learner((row[0].learner_id, Line(*row)) for row in rows)


async def _awards_of(session: AsyncSession, learner_ids: list[UUID]) -> dict[UUID, list[tuple[Award, frozenset[UUID]]]]:
    statement = (
        select(
            Award,
            func.array_agg(Allocation.credit_id).filter(Allocation.credit_id.is_not(None)),
        )
        .outerjoin(Allocation, Allocation.award_id == Award.award_id)
        .where(Award.learner_id.in_(learner_ids))
        .group_by(Award.award_id)
        .order_by(Award.claimed_at)
    )
    rows = await session.execute(statement)
    return _by_learner((row[0].learner_id, (row[0], frozenset(row[1] or ()))) for row in rows)


async def _transferred(session: AsyncSession, learner_ids: list[UUID]) -> dict[UUID, list[tuple[UUID, Transferred]]]:
    line, transfer = TransferLine, Transfer
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
    rows = await _all(session, select(Allocation).where(Allocation.award_id.in_(award_ids)))
    for row in rows:
        if row.award_id is not None:
            found.setdefault(row.award_id, set()).add(row.credit_id)
    return {award_id: frozenset(credit_ids) for award_id, credit_ids in found.items()}


async def is_on_hold(session: AsyncSession, learner_id: UUID) -> bool:
    """Return whether the learner may claim, be conferred or transfer nothing until a payment or case is settled."""
    return bool(await on_hold_among(session, [learner_id]))


async def on_hold_among(session: AsyncSession, learner_ids: Collection[UUID]) -> set[UUID]:
    """Return those of these learners who are on hold: an enrolment of theirs is suspended, or a case of misconduct is
    open. Source: docs/rules.md, "Holds"."""
    suspension, case = Suspension, MisconductCase
    suspended = select(suspension.learner_id).where(suspension.learner_id.in_(learner_ids), suspension.suspended)
    accused = select(case.learner_id).where(
        case.learner_id.in_(learner_ids), case.opened_at.is_not(None), case.closed_at.is_(None)
    )
    return set(await session.scalars(suspended.union(accused)))


async def pending_of(session: AsyncSession, learner_id: UUID) -> Sequence[tuple[Result, str | None]]:
    """Return released passes neither ratified nor voided, each with its course's title where the course is known."""
    result = Result
    credit, voiding = CreditRow, Voiding
    ratified = exists().where(credit.learner_id == learner_id, credit.submission_id == result.submission_id)
    voided = exists().where(voiding.submission_id == result.submission_id)
    statement = (
        select(result, Achievement.name)
        .outerjoin(Achievement, Achievement.achievement_id == result.course_version_id)
        .where(
            result.learner_id == learner_id,
            result.passed,
            ~ratified,
            ~voided,
        )
        .order_by(result.released_at)
    )
    return [(row[0], row[1]) for row in await session.execute(statement)]


def awards_query(learner_id: UUID | None, state: str | None) -> Select[Award]:
    statement = select(Award)
    if learner_id is not None:
        statement = statement.where(Award.learner_id == learner_id)
    if state is not None:
        statement = statement.where(Award.state == state)
    return statement


async def _all(session: AsyncSession, statement: Select[T]) -> Sequence[T]:
    return (await session.scalars(statement)).all()
