"""Queries longer than a look-up by primary key."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Exists, Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from enrolment.adapters.stored_facts import read
from enrolment.domain import enrolments, study
from enrolment.domain.enrolments import Decision
from enrolment.domain.facts import Fact
from enrolment.domain.learners import NotRegistered
from enrolment.domain.particulars import OPEN as OPEN_NAMES
from enrolment.domain.particulars import NameRequestState
from enrolment.domain.study_record import study_record
from enrolment.tables import (
    ContactChange,
    CourseVersion,
    Declaration,
    Enrolment,
    EnrolmentState,
    Learner,
    Name,
    NameEvidence,
    NameRequest,
    OrderLine,
    StoredEvent,
    Unit,
    UnitProgress,
    WithdrawnCourse,
)
from shared.directory import PersonEntry
from shared.events.assessment import CreditAwarded, SubmissionReceived
from shared.file_checks import Checked


@dataclass(frozen=True, slots=True)
class Registered:
    """A learner with the name in use and what they certified."""

    learner: Learner
    name: Name
    declaration: Declaration
    unconfirmed_email: str | None
    """The address that waits for its code; None where none does."""


async def registered(session: AsyncSession, learner_id: UUID) -> Registered:
    """Return a registered learner. Raises NotRegistered."""
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
    """Return whether documents bear the learner's name, or may come to, as work was handed in under it: nobody may pass
    that on by another name."""
    if learner.documented_at is not None:
        return True
    earned = select(StoredEvent.fact_id).where(
        StoredEvent.learner_id == learner.learner_id,
        StoredEvent.type.in_((SubmissionReceived.type, CreditAwarded.type)),
    )
    return await session.scalar(earned.limit(1)) is not None


def open_name_requests(learner_id: UUID) -> Select[UUID]:
    return select(NameRequest.request_id).where(NameRequest.learner_id == learner_id, NameRequest.state.in_(OPEN_NAMES))


def name_requests(learner_id: UUID | None, state: NameRequestState | None) -> Select[NameRequest]:
    """Select requests for another name: one learner's, or, without a learner, all that were ever handed in."""
    statement = select(NameRequest)
    if learner_id is not None:
        statement = statement.where(NameRequest.learner_id == learner_id)
    else:
        statement = statement.where(NameRequest.submitted_at.is_not(None))
    return statement if state is None else statement.where(NameRequest.state == state)


async def name_evidence_of(session: AsyncSession, request_id: UUID) -> Sequence[NameEvidence]:
    evidence = select(NameEvidence).where(NameEvidence.request_id == request_id)
    return (await session.scalars(evidence.order_by(NameEvidence.evidence_id))).all()


@dataclass(frozen=True, slots=True)
class NamesOfRequest:
    """The names that a request for another name is about; nothing is left of them once the learner is anonymised."""

    at_request: Name | None
    now: Name | None
    replaced: Name | None
    """The name before the approved one."""
    date_of_birth: date | None


async def names_of_request(session: AsyncSession, request: NameRequest) -> NamesOfRequest:
    """Return the names before, at and after a request, as far as they are there."""
    learner = await session.get_one(Learner, request.learner_id)
    names = select(Name).where(Name.learner_id == request.learner_id).order_by(Name.version)
    by_version = {name.version: name for name in await session.scalars(names)}
    borne = [version for version, name in by_version.items() if name.valid_from <= request.created_at]
    decided = [version for version, name in by_version.items() if name.decided_in == request.request_id]
    return NamesOfRequest(
        at_request=by_version.get(max(borne, default=0)),
        now=by_version.get(learner.name_version),
        replaced=by_version.get(min(decided, default=0) - 1),
        date_of_birth=learner.date_of_birth,
    )


async def present_names(session: AsyncSession, learner_ids: Collection[UUID]) -> dict[UUID, Name]:
    """Return the names that these learners bear now; anonymised ones have none."""
    in_use = and_(Name.learner_id == Learner.learner_id, Name.version == Learner.name_version)
    names = select(Name).join(Learner, in_use).where(Learner.learner_id.in_(learner_ids))
    return {name.learner_id: name for name in await session.scalars(names)}


async def known_files(session: AsyncSession, keys: Sequence[str]) -> Mapping[str, Checked]:
    """Return which of these stored files belong to a request for another name, and what it says of each."""
    columns = select(NameEvidence.storage_key, NameEvidence.sha256, NameEvidence.size)
    found = await session.execute(columns.where(NameEvidence.storage_key.in_(keys)))
    return {key: Checked(sha256, size) for key, sha256, size in found}


async def names_any_file(session: AsyncSession) -> bool:
    """Return whether any request for another name has a stored file."""
    return bool(await session.scalar(select(exists().select_from(NameEvidence))))


async def people(session: AsyncSession, learner_ids: Sequence[UUID]) -> list[PersonEntry]:
    """Return the directory entries of these learners: the name in use and the address, of those who have a name."""
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
    """Return whether a learner is registered, and so has certified both admission criteria, and not anonymised
    since."""
    return bool(await session.scalar(select(_eligible(learner_id))))


def _eligible(learner_id: UUID | InstrumentedAttribute[UUID]) -> Exists:
    return exists().where(Learner.learner_id == learner_id, Learner.anonymised_at.is_(None))


async def facts_of(session: AsyncSession, learner_id: UUID) -> list[Fact]:
    rows = await session.execute(
        select(StoredEvent.fact_id, StoredEvent.type, StoredEvent.subject, StoredEvent.at, StoredEvent.data).where(
            StoredEvent.learner_id == learner_id
        )
    )
    return [fact for row in rows if (fact := read(row.type, row.fact_id, row.subject, row.at, row.data)) is not None]


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
    """Select the learners with a study record: those who are not anonymised."""
    return select(Learner).where(Learner.anonymised_at.is_(None))


async def undecided_lines(session: AsyncSession, learner_id: UUID) -> Sequence[OrderLine]:
    """Return the learner's undecided lines in the order they were paid, and within an order by position."""
    lines = await session.scalars(
        select(OrderLine)
        .where(OrderLine.learner_id == learner_id, OrderLine.outcome.is_(None))
        .order_by(OrderLine.confirmed_at, OrderLine.order_id, OrderLine.position)
        .execution_options(populate_existing=True)
    )
    return lines.all()


async def learners_waiting_for(session: AsyncSession, course_id: UUID) -> Sequence[UUID]:
    """Return the learners with an undecided line for that course, in the order in which their locks are taken."""
    learners = await session.scalars(
        select(OrderLine.learner_id)
        .where(OrderLine.course_id == course_id, OrderLine.outcome.is_(None))
        .distinct()
        .order_by(OrderLine.learner_id)
    )
    return learners.all()


def learners_to_settle(received_until: datetime) -> Select[UUID]:
    """Select learners with an undecided line that can be decided: what it waited for is there, or it waited long
    enough."""
    arrived = and_(
        _eligible(OrderLine.learner_id),
        exists().where(CourseVersion.course_version_id == OrderLine.course_version_id),
    )
    withdrawn = exists().where(WithdrawnCourse.course_id == OrderLine.course_id)
    return (
        select(OrderLine.learner_id)
        .where(OrderLine.outcome.is_(None), or_(arrived, withdrawn, OrderLine.received_at <= received_until))
        .group_by(OrderLine.learner_id)
    )


def unpaid_enrolments(until: Mapping[str, datetime]) -> Select[UUID]:
    """Select enrolments that have waited for their money since the instant that `until` has for their regulations or
    longer, and all that wait under regulations it does not have: only a person can see to those."""
    version = Enrolment.regulations_version
    waited_long = (and_(version == known, Enrolment.changed_at <= then) for known, then in until.items())
    return (
        select(Enrolment.enrolment_id)
        .where(
            Enrolment.status == enrolments.EnrolmentStatus.SUSPENDED,
            Enrolment.reason_code != enrolments.DISPUTED,
            or_(version.not_in(until), *waited_long),
        )
        .order_by(Enrolment.changed_at)
    )


async def courses_of(session: AsyncSession, versions: Iterable[UUID]) -> dict[UUID, study.Course]:
    """Return these course versions by id."""
    rows = await session.scalars(select(CourseVersion).where(CourseVersion.course_version_id.in_(set(versions))))
    return {
        row.course_version_id: study.Course(**{name: getattr(row, name) for name in study.Course.__dataclass_fields__})
        for row in rows
    }


async def progress_of(session: AsyncSession, enrolment_ids: Collection[UUID]) -> dict[UUID, study.Progress]:
    """Return the progress of each enrolment, by its id."""
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
    """Return the progress in each unit of an enrolment that was begun, by unit id."""
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
        """Return the study record with the stored status of each enrolment."""
        return self._record(
            [enrolments.DerivedState(enrolments.EnrolmentStatus(row.status), row.reason_code) for row in self.rows]
        )

    def rebuilt(self) -> study.StudyRecord:
        """Return the study record with every status derived anew from the facts."""
        return self._record([enrolments.derived_state(ground_of(row), self.facts) for row in self.rows])

    def _record(self, states: list[enrolments.DerivedState]) -> study.StudyRecord:
        enrolled = [
            study.Enrolled(
                enrolment_id=row.enrolment_id,
                course=self.courses[row.course_version_id],
                status=derived_state.status.value,
                reason_code=derived_state.reason_code,
                regulations_version=row.regulations_version,
                activated_at=row.activated_at,
                progress=self.progress[row.enrolment_id],
            )
            for row, derived_state in zip(self.rows, states, strict=True)
        ]
        not_activated = [
            study.NotActivated(
                order_id=line.order_id,
                order_line_id=line.order_line_id,
                course_id=line.course_id,
                reason_code=line.reason_code or "",
                decided_at=line.decided_at or line.received_at,
            )
            for line in self.refused
        ]
        return study_record(self.person, enrolled, not_activated, self.facts)


async def known(session: AsyncSession, learner_id: UUID) -> Known:
    """Return everything stored about one learner's studies. Raises NotRegistered."""
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


async def studies_beside(session: AsyncSession, person: UUID, learner_id: UUID) -> bool:
    """Return whether somebody studies a module that another learner is, or was, enrolled on."""
    own, theirs = aliased(Enrolment), aliased(Enrolment)
    beside = select(own.enrolment_id).join(theirs, theirs.module_family == own.module_family)
    beside = beside.where(own.learner_id == person, own.status.in_(enrolments.OPEN), theirs.learner_id == learner_id)
    return person != learner_id and bool(await session.scalar(select(beside.exists())))


async def read_study_record(session: AsyncSession, learner_id: UUID) -> study.StudyRecord:
    """Return the study record as it is stored. Raises NotRegistered."""
    return (await known(session, learner_id)).record()


async def rebuild_study_record(session: AsyncSession, learner_id: UUID) -> study.StudyRecord:
    """Return the study record derived anew from the facts; equal to the stored one, whatever the order of events.

    Raises NotRegistered.
    """
    return (await known(session, learner_id)).rebuilt()


def ground_of(row: Enrolment) -> enrolments.Ground:
    return enrolments.Ground(row.enrolment_id, row.order_id, row.order_line_id)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many study records were compared with their rebuilds, and whose differ."""

    compared: int
    differing: list[UUID]


LOOKS = 3


async def compare_study_records(session: AsyncSession, learner_ids: Iterable[UUID]) -> Comparison:
    """Rebuild the records of these learners; return how many there are, and which differ from what is stored."""
    learners = list(learner_ids)
    differing = [learner_id for learner_id in learners if await _differs(session, learner_id)]
    return Comparison(len(learners), differing)


async def _differs(session: AsyncSession, learner_id: UUID) -> bool:
    """Return whether a learner's record differs from its rebuild. A fact may arrive between the reads; a difference
    that matters is still there when they are repeated."""
    for _ in range(LOOKS):
        try:
            found = await known(session, learner_id)
        except NotRegistered:  # anonymised since the page was read
            return False
        if found.record() == found.rebuilt():
            return False
    return True
