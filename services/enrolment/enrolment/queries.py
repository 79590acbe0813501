"""Reads longer than a primary-key look-up."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Exists, Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from enrolment.domain import enrolments, study
from enrolment.domain.enrolments import Decision
from enrolment.domain.facts import Fact, Kind
from enrolment.domain.learners import NotRegistered
from enrolment.domain.particulars import OPEN as OPEN_NAMES
from enrolment.domain.particulars import NameRequestState
from enrolment.tables import (
    ContactChange,
    CourseVersion,
    Declaration,
    Enrolment,
    EnrolmentState,
    KeptFact,
    Learner,
    Name,
    NameEvidence,
    NameRequest,
    OrderLine,
    Unit,
    UnitProgress,
)
from shared.registers import PersonEntry


@dataclass(frozen=True, slots=True)
class Registered:
    """A learner with the name in use and what they certified."""

    learner: Learner
    name: Name
    declaration: Declaration
    unconfirmed_email: str | None
    """Waits for its code."""


async def registered(session: AsyncSession, learner_id: UUID) -> Registered:
    """Raises NotRegistered."""
    row = (
        await session.execute(
            select(Learner, Name, Declaration, ContactChange.contact_email)
            .join(Name, and_(Name.learner_id == Learner.learner_id, Name.version == Learner.name_version))
            .join(Declaration, Declaration.learner_id == Learner.learner_id)
            .outerjoin(ContactChange, ContactChange.learner_id == Learner.learner_id)
            .where(Learner.learner_id == learner_id)
            .order_by(Declaration.declared_at.desc(), Declaration.version.desc())
            .limit(1)
        )
    ).first()
    if row is None:
        raise NotRegistered("this account has not registered as a learner")
    return Registered(*row)


async def is_documented(session: AsyncSession, learner: Learner) -> bool:
    """Whether documents bear their name, or are about to: credit was awarded."""
    if learner.documented_at is not None:
        return True
    credit = select(KeptFact.fact_id).where(
        KeptFact.learner_id == learner.learner_id, KeptFact.type == Kind.CREDIT_AWARDED
    )
    return await session.scalar(credit.limit(1)) is not None


def open_name_requests(learner_id: UUID) -> Select[UUID]:
    return select(NameRequest.request_id).where(NameRequest.learner_id == learner_id, NameRequest.state.in_(OPEN_NAMES))


def name_requests(learner_id: UUID | None, state: NameRequestState | None) -> Select[NameRequest]:
    """Of one learner; without one of everybody, but for what was never handed in."""
    statement = select(NameRequest)
    if learner_id is not None:
        statement = statement.where(NameRequest.learner_id == learner_id)
    else:
        statement = statement.where(NameRequest.submitted_at.is_not(None))
    return statement if state is None else statement.where(NameRequest.state == state)


async def name_evidence_of(session: AsyncSession, request_id: UUID) -> Sequence[NameEvidence]:
    evidence = select(NameEvidence).where(NameEvidence.request_id == request_id)
    return (await session.scalars(evidence.order_by(NameEvidence.evidence_id))).all()


async def known_files(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Which of these stored files a request for another name has."""
    return set(await session.scalars(select(NameEvidence.storage_key).where(NameEvidence.storage_key.in_(keys))))


async def people(session: AsyncSession, learner_ids: Sequence[UUID]) -> list[PersonEntry]:
    """The register of people: the name in use and the address, of those of these learners who have one."""
    rows = await session.execute(
        select(Learner, Name)
        .join(Name, and_(Name.learner_id == Learner.learner_id, Name.version == Learner.name_version))
        .where(Learner.learner_id.in_(learner_ids))
    )
    return [
        PersonEntry(
            learner_id=learner.learner_id,
            name_version=learner.name_version,
            contact_version=learner.contact_version,
            family_name=name.family_name,
            given_name=name.given_name,
            display_name=name.display_name,
            certificate_name=name.certificate_name,
            name_decided=name.decided_in is not None,
            contact_email=learner.contact_email,
            contact_confirmed=learner.contact_confirmed_at is not None,
        )
        for learner, name in rows
    ]


async def is_eligible(session: AsyncSession, learner_id: UUID) -> bool:
    """Registered, which is to have certified both admission criteria, and not anonymised since."""
    return bool(await session.scalar(select(_eligible(learner_id))))


def _eligible(learner_id: UUID | InstrumentedAttribute[UUID]) -> Exists:
    return exists().where(Learner.learner_id == learner_id, Learner.anonymised_at.is_(None))


async def facts_of(session: AsyncSession, learner_id: UUID) -> list[Fact]:
    rows = await session.execute(
        select(KeptFact.fact_id, KeptFact.type, KeptFact.subject, KeptFact.at, KeptFact.data).where(
            KeptFact.learner_id == learner_id
        )
    )
    return [
        Fact(row.fact_id, Kind(row.type), row.subject, row.at, row.data)
        for row in rows
        if row.type in _KINDS  # what a later release keeps is not for this one, while both run
    ]


_KINDS = frozenset(kind.value for kind in Kind)


async def enrolments_of(session: AsyncSession, learner_id: UUID) -> list[Enrolment]:
    return list(
        await session.scalars(
            select(Enrolment).where(Enrolment.learner_id == learner_id).execution_options(populate_existing=True)
        )
    )


def enrolments_page(learner_id: UUID) -> Select[Enrolment]:
    return select(Enrolment).where(Enrolment.learner_id == learner_id)


def units_page(course_version_id: UUID) -> Select[Unit]:
    return select(Unit).where(Unit.course_version_id == course_version_id)


def learners_page() -> Select[Learner]:
    """Those with a study record: of the anonymised there is none."""
    return select(Learner).where(Learner.anonymised_at.is_(None))


async def undecided_lines(session: AsyncSession, learner_id: UUID) -> Sequence[OrderLine]:
    """In the order they were paid, and within an order as they stand there."""
    lines = await session.scalars(
        select(OrderLine)
        .where(OrderLine.learner_id == learner_id, OrderLine.outcome.is_(None))
        .order_by(OrderLine.confirmed_at, OrderLine.order_id, OrderLine.position)
        .execution_options(populate_existing=True)
    )
    return lines.all()


async def learners_waiting_for(session: AsyncSession, course_id: UUID) -> Sequence[UUID]:
    """Learners with an undecided line for that course, in a fixed order: turns are taken in it."""
    learners = await session.scalars(
        select(OrderLine.learner_id)
        .where(OrderLine.course_id == course_id, OrderLine.outcome.is_(None))
        .distinct()
        .order_by(OrderLine.learner_id)
    )
    return learners.all()


def learners_to_settle(heard_until: datetime) -> Select[UUID]:
    """Learners with an undecided line that can be decided: what it waited for is there, or it waited long enough."""
    arrived = and_(
        _eligible(OrderLine.learner_id),
        exists().where(CourseVersion.course_version_id == OrderLine.course_version_id),
    )
    return (
        select(OrderLine.learner_id)
        .where(OrderLine.outcome.is_(None), or_(arrived, OrderLine.heard_at <= heard_until))
        .group_by(OrderLine.learner_id)
    )


def suspended_since(until: datetime, regulations_version: str) -> Select[UUID]:
    """Enrolments that wait for their money since then or longer."""
    return (
        select(Enrolment.enrolment_id)
        .where(
            Enrolment.status == enrolments.EnrolmentStatus.SUSPENDED,
            Enrolment.reason_code != enrolments.DISPUTED,
            Enrolment.changed_at <= until,
            Enrolment.regulations_version == regulations_version,
        )
        .order_by(Enrolment.changed_at)
    )


async def courses_of(session: AsyncSession, versions: Iterable[UUID]) -> dict[UUID, study.Course]:
    """By course version id."""
    rows = await session.scalars(select(CourseVersion).where(CourseVersion.course_version_id.in_(set(versions))))
    return {
        row.course_version_id: study.Course(**{name: getattr(row, name) for name in study.Course.__dataclass_fields__})
        for row in rows
    }


async def progress_of(session: AsyncSession, enrolment_ids: Collection[UUID]) -> dict[UUID, study.Progress]:
    """By enrolment id."""
    rows = await session.execute(
        select(
            Enrolment.enrolment_id,
            func.count(Unit.unit_id).label("units"),
            func.count(UnitProgress.started_at).label("started"),
            func.count(UnitProgress.finished_at).label("finished"),
        )
        .outerjoin(Unit, Unit.course_version_id == Enrolment.course_version_id)
        .outerjoin(
            UnitProgress,
            and_(UnitProgress.enrolment_id == Enrolment.enrolment_id, UnitProgress.unit_id == Unit.unit_id),
        )
        .where(Enrolment.enrolment_id.in_(enrolment_ids))
        .group_by(Enrolment.enrolment_id)
    )
    return {row.enrolment_id: study.Progress(row.units, row.started, row.finished) for row in rows}


async def unit_progress(session: AsyncSession, enrolment_id: UUID) -> dict[UUID, UnitProgress]:
    """By unit id."""
    rows = await session.scalars(select(UnitProgress).where(UnitProgress.enrolment_id == enrolment_id))
    return {row.unit_id: row for row in rows}


async def states_of(session: AsyncSession, enrolment_id: UUID) -> Sequence[EnrolmentState]:
    rows = await session.scalars(
        select(EnrolmentState).where(EnrolmentState.enrolment_id == enrolment_id).order_by(EnrolmentState.sequence)
    )
    return rows.all()


@dataclass(frozen=True, slots=True)
class Known:
    """Everything stored about one learner's studies."""

    person: study.Person
    rows: list[Enrolment]
    facts: list[Fact]
    courses: dict[UUID, study.Course]
    progress: dict[UUID, study.Progress]
    refused: list[OrderLine]

    def record(self) -> study.StudyRecord:
        """As it stands: each enrolment with the status it was given."""
        return self._record(
            [enrolments.Standing(enrolments.EnrolmentStatus(row.status), row.reason_code) for row in self.rows]
        )

    def rebuilt(self) -> study.StudyRecord:
        """With every status derived anew from the facts."""
        return self._record([enrolments.standing(ground_of(row), self.facts) for row in self.rows])

    def _record(self, standings: list[enrolments.Standing]) -> study.StudyRecord:
        enrolled = [
            study.Enrolled(
                enrolment_id=row.enrolment_id,
                course=self.courses[row.course_version_id],
                status=standing.status.value,
                reason_code=standing.reason_code,
                regulations_version=row.regulations_version,
                activated_at=row.activated_at,
                progress=self.progress[row.enrolment_id],
            )
            for row, standing in zip(self.rows, standings, strict=True)
        ]
        not_activated = [
            study.NotActivated(
                order_id=line.order_id,
                order_line_id=line.order_line_id,
                course_id=line.course_id,
                reason_code=line.reason_code or "",
                decided_at=line.decided_at or line.heard_at,
            )
            for line in self.refused
        ]
        return study.study_record(self.person, enrolled, not_activated, self.facts)


async def known(session: AsyncSession, learner_id: UUID) -> Known:
    """Raises NotRegistered."""
    person = await registered(session, learner_id)
    rows = await enrolments_of(session, learner_id)
    refused = await session.scalars(
        select(OrderLine).where(
            OrderLine.learner_id == learner_id,
            OrderLine.outcome == "refused",
            OrderLine.reason_code != Decision.ENROLMENT_ENDED,  # it stands among the enrolments
        )
    )
    return Known(
        person=study.Person(learner_id, person.name.display_name, person.learner.registered_at),
        rows=rows,
        facts=await facts_of(session, learner_id),
        courses=await courses_of(session, [row.course_version_id for row in rows]),
        progress=await progress_of(session, [row.enrolment_id for row in rows]),
        refused=list(refused),
    )


async def read_study_record(session: AsyncSession, learner_id: UUID) -> study.StudyRecord:
    """The record as it stands. Raises NotRegistered."""
    return (await known(session, learner_id)).record()


async def rebuild_study_record(session: AsyncSession, learner_id: UUID) -> study.StudyRecord:
    """The record derived anew from the facts; equal to the one read, whatever the order of events.

    Raises NotRegistered.
    """
    return (await known(session, learner_id)).rebuilt()


def ground_of(row: Enrolment) -> enrolments.Ground:
    return enrolments.Ground(row.enrolment_id, row.order_id, row.order_line_id)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of many study records with their rebuilds."""

    compared: int
    differing: list[UUID]


LOOKS = 3


async def compare_study_records(session: AsyncSession, learner_ids: Iterable[UUID]) -> Comparison:
    """Rebuild the records of these learners; those that differ from what is stored are named."""
    learners = list(learner_ids)
    differing = [learner_id for learner_id in learners if await _differs(session, learner_id)]
    return Comparison(len(learners), differing)


async def _differs(session: AsyncSession, learner_id: UUID) -> bool:
    """A fact may arrive between the reads of one look; a difference that matters is still there at the next."""
    for _ in range(LOOKS):
        try:
            found = await known(session, learner_id)
        except NotRegistered:  # anonymised since the page was read
            return False
        if found.record() == found.rebuilt():
            return False
    return True
