"""Keep the copy of the directory: names and addresses of learners, never in events, always erasable."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import documents, emails, issuing
from credentials.domain.people import HolderAnonymised
from credentials.queries.documents import name_on_documents
from credentials.tables.people import Learner, Person
from shared.database import advisory_lock, fetch
from shared.database import now as now_of
from shared.directory import PersonEntry
from shared.idempotency import erase_replies
from shared.messaging import RetryLater


async def note_versions(
    session: AsyncSession, learner_id: UUID, *, name_version: int = 1, contact_version: int = 1
) -> None:
    """Note that a learner's name or address was changed, and to which version; a job reads them.

    It reads them whatever the version: enrolment, set back to an earlier moment, counts on from there, and gives the
    same versions out again. Raises RetryLater for an unknown learner.
    """
    learner = await _learner(session, learner_id)
    learner.name_version = max(learner.name_version, name_version)
    learner.contact_version = max(learner.contact_version, contact_version)
    learner.unread = True


async def store_person(session: AsyncSession, entry: PersonEntry, *, stands: bool = False) -> bool:
    """Store what the directory says of a learner, and return whether nothing more has to be asked about them.

    An answer older than what is stored changes nothing, and after one that is older than what was announced enrolment
    has to be asked again: another answer may have overtaken it. `stands`: it was the same each time for long. So it is
    how things are, as after enrolment was set back to an earlier moment, or a version was none that it ever had.

    Once documents are made out to a learner, their name changes only to one that a registrar decided on: the name on
    the documents is kept, since the copy of the directory may be read again from nothing. Badges are made out to a
    confirmed address; an unconfirmed one takes none off them.
    """
    await advisory_lock(session, "learner", entry.learner_id)
    learner = await fetch(session, Learner, entry.learner_id, lock=True)
    if learner.anonymised_at is not None:  # since the directory answered
        return True
    held = await session.get(Person, entry.learner_id, populate_existing=True)
    if stands:
        learner.name_version, learner.contact_version = entry.name_version, entry.contact_version
    elif held is not None and (held.name_version > entry.name_version or held.contact_version > entry.contact_version):
        return not learner.unread and held.confirmation_version == held.contact_version
    learner.unread = entry.name_version < learner.name_version or entry.contact_version < learner.contact_version
    name = entry.certificate_name or " ".join(filter(None, (entry.given_name, entry.family_name)))
    if not entry.name_decided:
        name = await name_on_documents(session, entry.learner_id) or name
    values = {
        "name_version": entry.name_version,
        "contact_version": entry.contact_version,
        "legal_name": name,
        "display_name": entry.display_name,
        "email": entry.contact_email,
        "read_at": now_of(session),
    }
    if entry.contact_confirmed is not None:
        values |= {"email_confirmed": entry.contact_confirmed, "confirmation_version": entry.contact_version}
    elif stands:
        values |= {"confirmation_version": None}
    statement = insert(Person).values(learner_id=entry.learner_id, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=[Person.learner_id], set_=values))
    if entry.contact_confirmed:
        await issuing.make_badges_out_to(session, entry.learner_id, entry.contact_email)
    if held is None or held.legal_name != name:
        await documents.issue_to(session, entry.learner_id)
    return not learner.unread


async def erase_person(session: AsyncSession, learner_id: UUID, at: datetime) -> None:
    """Erase who a learner was. What they earned stays, and can be verified by whoever holds it. Raises RetryLater."""
    await advisory_lock(session, "learner", learner_id)
    learner = await _learner(session, learner_id)
    learner.anonymised_at = at
    person = await session.get(Person, learner_id)
    words = (person.legal_name, person.display_name, person.email) if person is not None else ()
    await erase_replies(session, learner_id, *words)
    await emails.erase_emails(session, learner_id, None if person is None else person.email)
    await session.execute(delete(Person).where(Person.learner_id == learner_id))
    await issuing.erase_holder(session, learner_id)
    await documents.erase(session, learner_id)


async def must_be_present(session: AsyncSession, learner_id: UUID) -> None:
    """Take the learner's advisory lock before their words are stored, so that no erasure comes between.

    Raises HolderAnonymised.
    """
    await advisory_lock(session, "learner", learner_id)
    learner = await session.get(Learner, learner_id, populate_existing=True)
    if learner is not None and learner.anonymised_at is not None:
        raise HolderAnonymised("this learner was anonymised")


async def _learner(session: AsyncSession, learner_id: UUID) -> Learner:
    learner = await session.get(Learner, learner_id, with_for_update={"key_share": True}, populate_existing=True)
    if learner is None:
        raise RetryLater(f"the learner {learner_id} is not known here yet")
    return learner
