"""Registering and keeping one's particulars."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from enrolment import queries
from enrolment.commands.enrolments import settle
from enrolment.domain import declarations, learners
from enrolment.domain.enrolments import OPEN
from enrolment.tables import Declaration, Learner, Name
from shared.database import now, take_turns
from shared.events.enrolment import (
    EligibilityDeclared,
    LearnerAnonymised,
    LearnerContactChanged,
    LearnerNameChanged,
    LearnerRegistered,
)
from shared.messaging import publish


@dataclass(frozen=True, slots=True)
class Form:
    """The short form."""

    family_name: str
    given_name: str | None
    display_name: str | None
    date_of_birth: date | None
    country: str
    contact_email: str
    declaration_version: str
    answers: dict[str, bool]


async def register_learner(session: AsyncSession, learner_id: UUID, form: Form) -> queries.Registered:
    """Admit a person by their own certification, and settle what they had paid for already.

    Raises AlreadyRegistered, DeclarationOutdated, CriteriaNotAffirmed, UnknownCountry, ImplausibleDateOfBirth and
    EmptyName.
    """
    at = now(session)
    certificate = declarations.certify(form.declaration_version, form.answers, at)
    name = learners.person_name(form.family_name, form.given_name, form.display_name)
    learners.must_be_country(form.country)
    if form.date_of_birth is not None:
        learners.must_be_plausible(form.date_of_birth, at.date())

    inserted = await session.scalar(
        insert(Learner)
        .values(
            learner_id=learner_id,
            country=form.country,
            date_of_birth=form.date_of_birth,
            contact_email=form.contact_email,
            name_version=1,
            contact_version=1,
            registered_at=at,
        )
        .on_conflict_do_nothing()
        .returning(Learner.learner_id)
    )
    if inserted is None:
        raise learners.AlreadyRegistered("this account is registered as a learner")
    session.add(_name_row(learner_id, 1, name, at))
    session.add(
        Declaration(
            learner_id=learner_id,
            version=certificate.version,
            answers=dict(certificate.answers),
            sha256=certificate.sha256,
            declared_at=at,
        )
    )
    publish(session, LearnerRegistered(learner_id=learner_id, name_version=1, registered_at=at))
    publish(
        session,
        EligibilityDeclared(
            learner_id=learner_id,
            statement_version=certificate.version,
            answers_sha256=certificate.sha256,
            declared_at=at,
        ),
    )
    await session.flush()
    await settle(session, learner_id)
    return await queries.registered(session, learner_id)


async def update_learner(
    session: AsyncSession,
    learner_id: UUID,
    changes: dict[str, Any],  # Any: the fields that were sent, already validated, by name
) -> queries.Registered:
    """Change what was sent. Another name is a new version; earlier ones stay.

    Raises NotRegistered, UnknownCountry, ImplausibleDateOfBirth, EmptyName.
    """
    at = now(session)
    learner = await session.get(Learner, learner_id, with_for_update=True)
    if learner is None:
        raise learners.NotRegistered("this account has not registered as a learner")
    if changes.get("country"):
        learners.must_be_country(changes["country"])
        learner.country = changes["country"]
    if "date_of_birth" in changes:
        if changes["date_of_birth"] is not None:
            learners.must_be_plausible(changes["date_of_birth"], at.date())
        learner.date_of_birth = changes["date_of_birth"]
    if changes.get("contact_email", learner.contact_email) not in (None, learner.contact_email):
        learner.contact_email = changes["contact_email"]
        learner.contact_version += 1
        publish(
            session,
            LearnerContactChanged(learner_id=learner_id, contact_version=learner.contact_version, changed_at=at),
        )

    row = (await queries.registered(session, learner_id)).name
    used = learners.PersonName(row.family_name, row.given_name, row.display_name)
    name = learners.rename(used, changes)
    if name != used:
        learner.name_version += 1
        session.add(_name_row(learner_id, learner.name_version, name, at))
        publish(session, LearnerNameChanged(learner_id=learner_id, name_version=learner.name_version, changed_at=at))
    await session.flush()
    return await queries.registered(session, learner_id)


async def anonymise_learner(session: AsyncSession, learner_id: UUID, *, by: str) -> datetime:
    """Erase who a learner is; enrolments and results stay, as the academic record must. Since when it is so.

    Final, and safe to repeat. Raises NotRegistered, StillEnrolled.
    """
    await take_turns(session, "learner", learner_id)
    learner = await session.get(Learner, learner_id, with_for_update=True)
    if learner is None:
        raise learners.NotRegistered("this account has not registered as a learner")
    if learner.anonymised_at is not None:
        return learner.anonymised_at
    if any(row.status in OPEN for row in await queries.enrolments_of(session, learner_id)):
        raise learners.StillEnrolled("an enrolment is still open")
    at = now(session)
    await session.execute(delete(Name).where(Name.learner_id == learner_id))
    learner.contact_email, learner.date_of_birth = "", None
    learner.anonymised_at, learner.anonymised_by = at, by
    publish(session, LearnerAnonymised(learner_id=learner_id, anonymised_at=at))
    return at


def _name_row(learner_id: UUID, version: int, name: learners.PersonName, at: datetime) -> Name:
    return Name(
        learner_id=learner_id,
        version=version,
        given_name=name.given_name,
        family_name=name.family_name,
        display_name=name.display_name,
        valid_from=at,
    )
