"""Registering learners, changing their particulars, and anonymising them."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from enrolment import queries
from enrolment.commands import contacts
from enrolment.commands.enrolments import settle
from enrolment.domain import declarations, learners
from enrolment.domain.enrolments import OPEN as OPEN_ENROLMENTS
from enrolment.domain.particulars import OPEN, NameRequestState
from enrolment.tables import ContactChange, Declaration, Learner, Name, NameEvidence, NameRequest
from shared.access import refuse_own
from shared.database import advisory_lock, now
from shared.digests import Digests
from shared.events.enrolment import (
    EligibilityDeclared,
    LearnerAnonymised,
    LearnerNameChanged,
    LearnerRegistered,
)
from shared.idempotency import erase_replies
from shared.messaging import RetryLater, publish
from shared.messaging.tables import QueuedEmail

_NAMED = (
    "you handed in work under your name, or documents bear it: ask a registrar for the name that they should bear "
    "(POST /v1/name-requests), also where they bear another than you see here"
)


@dataclass(frozen=True, slots=True)
class Form:
    """The short form, by which a learner registers."""

    family_name: str
    given_name: str | None
    display_name: str | None
    date_of_birth: date | None
    country: str
    contact_email: str
    declaration_version: str
    answers: dict[str, bool]
    certificate_name: str | None = None


async def register_learner(session: AsyncSession, learner_id: UUID, form: Form, digests: Digests) -> queries.Registered:
    """Register a learner by their own certification, and settle what they had paid for already.

    Their address is used from now on, and is unconfirmed until the code that is sent there is entered.

    Raises AlreadyRegistered, DeclarationOutdated, CriteriaNotAffirmed, UnknownCountry, ImplausibleDateOfBirth,
    EmptyName, UnfitCharacter and OtherCertificateName.
    """
    at = now(session)
    certificate = declarations.certify(form.declaration_version, form.answers, at)
    name = learners.person_name(form.family_name, form.given_name, form.display_name, form.certificate_name)
    learners.must_write_the_name(name)
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
    session.add(name_row(learner_id, 1, name, at))
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
    await contacts.send_first_code(session, learner_id, form.contact_email, digests)
    await settle(session, learner_id)
    return await queries.registered(session, learner_id)


async def update_learner(
    session: AsyncSession,
    learner_id: UUID,
    changes: dict[str, Any],  # Any: the fields that were sent, already validated, by name
    digests: Digests,
) -> queries.Registered:
    """Change the particulars that were sent. Another name is a new version; earlier ones stay. Another address waits
    for its code.

    Raises NotRegistered, UnknownCountry, ImplausibleDateOfBirth, EmptyName, UnfitCharacter, OtherCertificateName,
    NameOnDocuments, TooManyConfirmations.
    """
    at = now(session)
    learner = await session.get(Learner, learner_id, with_for_update={"key_share": True})
    if learner is None:
        raise learners.NotRegistered("this account has not registered as a learner")
    if changes.get("country"):
        learners.must_be_country(changes["country"])
        learner.country = changes["country"]
    if "date_of_birth" in changes:
        if changes["date_of_birth"] is not None:
            learners.must_be_plausible(changes["date_of_birth"], at.date())
        learner.date_of_birth = changes["date_of_birth"]
    row = (await queries.registered(session, learner_id)).name
    used = name_of(row)
    name = learners.rename(used, changes)
    if name != used:
        stays = name.stands_as(used)
        if not stays:
            if await queries.is_documented(session, learner):
                raise learners.NameOnDocuments(_NAMED)
            learners.must_write_the_name(name)
        use_name(session, learner, name, row.decided_in if stays else None)
    if email := changes.get("contact_email"):
        await contacts.ask_to_confirm(session, learner, email, digests)
    await session.flush()
    return await queries.registered(session, learner_id)


def use_name(session: AsyncSession, learner: Learner, name: learners.PersonName, decided_in: UUID | None) -> None:
    """Let the learner bear this name from now on; `decided_in` is the request a registrar has approved."""
    at = now(session)
    learner.name_version += 1
    session.add(name_row(learner.learner_id, learner.name_version, name, at, decided_in))
    publish(
        session,
        LearnerNameChanged(learner_id=learner.learner_id, name_version=learner.name_version, changed_at=at),
    )


async def note_document(session: AsyncSession, learner_id: UUID, at: datetime) -> None:
    """Store since when a document bears the learner's name. Raises RetryLater for an unknown learner."""
    found = await session.scalar(
        update(Learner)
        .where(Learner.learner_id == learner_id)
        .values(documented_at=func.coalesce(Learner.documented_at, at))
        .returning(Learner.learner_id)
    )
    if found is None:
        raise RetryLater(f"the learner {learner_id} is not known here")


async def anonymise_learner(session: AsyncSession, learner_id: UUID, *, by: str) -> datetime:
    """Erase who a learner is; return since when it is so. Enrolments and results stay, as the academic record must.

    Final. Repeated, it erases what was written since, here and in all subscribed services. Raises OwnErasure,
    NotRegistered, StillEnrolled.
    """
    refuse_own(session, learners.OwnErasure("another registrar erases who you are"), learner_id, by)
    await advisory_lock(session, "learner", learner_id)
    learner = await session.get(Learner, learner_id, with_for_update={"key_share": True})
    if learner is None:
        raise learners.NotRegistered("this account has not registered as a learner")
    repeated = learner.anonymised_at is not None
    if not repeated and any(row.status in OPEN_ENROLMENTS for row in await queries.enrolments_of(session, learner_id)):
        raise learners.StillEnrolled("an enrolment is still open")
    at = learner.anonymised_at or now(session)
    names = list(await session.scalars(delete(Name).where(Name.learner_id == learner_id).returning(Name)))
    change = await session.get(ContactChange, learner_id)
    # Not an empty one: e-mails that were sent some time ago have no address any more, whoever they went to.
    addresses = [one for one in (learner.contact_email, change.contact_email if change else None) if one]
    shown = [word for name in names for word in (name.display_name, name.certificate_name)]
    await erase_replies(session, learner_id, *addresses, *shown)
    await session.execute(
        delete(QueuedEmail).where(or_(QueuedEmail.recipient.in_(addresses), contacts.emails_about(learner_id)))
    )
    await session.execute(delete(ContactChange).where(ContactChange.learner_id == learner_id))
    # Evidence may be on its way: whoever adds it holds the request.
    requests = select(NameRequest.request_id).where(NameRequest.learner_id == learner_id)
    await session.execute(requests.order_by(NameRequest.request_id).with_for_update(key_share=True))
    await session.execute(delete(NameEvidence).where(NameEvidence.learner_id == learner_id))
    asked = update(NameRequest).where(NameRequest.learner_id == learner_id)
    await session.execute(asked.where(NameRequest.state.in_(OPEN)).values(state=NameRequestState.WITHDRAWN))
    await session.execute(
        asked.values(family_name="", given_name=None, certificate_name=None, statement="", reason=None)
    )
    learner.contact_email, learner.contact_confirmed_at, learner.date_of_birth = "", None, None
    if not repeated:
        learner.anonymised_at, learner.anonymised_by = at, by
    publish(session, LearnerAnonymised(learner_id=learner_id, anonymised_at=at))
    return at


def name_of(row: Name) -> learners.PersonName:
    return learners.PersonName(row.family_name, row.given_name, row.display_name, row.certificate_name)


def name_row(
    learner_id: UUID, version: int, name: learners.PersonName, at: datetime, decided_in: UUID | None = None
) -> Name:
    return Name(
        learner_id=learner_id,
        version=version,
        given_name=name.given_name,
        family_name=name.family_name,
        display_name=name.display_name,
        certificate_name=name.certificate_name,
        decided_in=decided_in,
        valid_from=at,
    )
