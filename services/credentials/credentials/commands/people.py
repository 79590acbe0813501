"""Keep the copy of the people register: names and addresses of learners, never in events, always erasable."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.commands import documents, issuing
from credentials.domain.people import HolderAnonymised
from shared.database import fetch, take_turns
from shared.database import now as now_of
from shared.messaging import NotYet
from shared.messaging.replies import erase_replies
from shared.registers import PersonEntry


async def note_versions(
    session: AsyncSession, learner_id: UUID, *, name_version: int = 1, contact_version: int = 1
) -> None:
    """What is in use now is at least this; the job reads what it is. Raises NotYet for an unknown learner."""
    learner = await _learner(session, learner_id)
    if name_version > learner.name_version or contact_version > learner.contact_version:
        learner.name_version = max(learner.name_version, name_version)
        learner.contact_version = max(learner.contact_version, contact_version)
        learner.unread = True


async def store_person(session: AsyncSession, entry: PersonEntry) -> None:
    """Take over what the register says. An answer that is older than what is held changes nothing.

    Once documents are made out to a learner, their name changes to one a registrar decided on, and to no other:
    what they bear decides, for the copy of the register may be read again from nothing. Badges are made out to an
    address that is confirmed; one that is not takes none off them.
    """
    await take_turns(session, "learner", entry.learner_id)
    learner = await fetch(session, tables.Learner, entry.learner_id, lock=True)
    if learner.anonymised_at is not None:  # since the register answered
        return
    held = await session.get(tables.Person, entry.learner_id)
    if held is not None and (held.name_version > entry.name_version or held.contact_version > entry.contact_version):
        return
    learner.unread = entry.name_version < learner.name_version or entry.contact_version < learner.contact_version
    name = entry.certificate_name or " ".join(filter(None, (entry.given_name, entry.family_name)))
    if not entry.name_decided:
        name = await queries.name_on_documents(session, entry.learner_id) or name
    values = {
        "name_version": entry.name_version,
        "contact_version": entry.contact_version,
        "legal_name": name,
        "display_name": entry.display_name,
        "email": entry.contact_email,
        "read_at": now_of(session),
    }
    if entry.contact_confirmed is not None:
        values |= {"email_confirmed": entry.contact_confirmed, "told_version": entry.contact_version}
    statement = insert(tables.Person).values(learner_id=entry.learner_id, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=[tables.Person.learner_id], set_=values))
    if entry.contact_confirmed:
        await issuing.make_badges_out_to(session, entry.learner_id, entry.contact_email)
    if held is None or held.legal_name != name:
        await documents.issue_to(session, entry.learner_id)


async def forget_person(session: AsyncSession, learner_id: UUID, at: datetime) -> None:
    """Erase who it was. What they earned stays, and can be verified by whoever holds it. Raises NotYet."""
    await take_turns(session, "learner", learner_id)
    learner = await _learner(session, learner_id)
    learner.anonymised_at = at
    person = await session.get(tables.Person, learner_id)
    words = (person.legal_name, person.display_name, person.email) if person is not None else ()
    await erase_replies(session, learner_id, *words)
    await session.execute(delete(tables.Person).where(tables.Person.learner_id == learner_id))
    await issuing.erase_holder(session, learner_id)
    await documents.erase(session, learner_id)


async def must_be_present(session: AsyncSession, learner_id: UUID) -> None:
    """Before a learner's words are stored: in their turn, so that no erasure comes between. Raises HolderAnonymised."""
    await take_turns(session, "learner", learner_id)
    learner = await session.get(tables.Learner, learner_id, populate_existing=True)
    if learner is not None and learner.anonymised_at is not None:
        raise HolderAnonymised("this learner was anonymised")


async def _learner(session: AsyncSession, learner_id: UUID) -> tables.Learner:
    learner = await session.get(tables.Learner, learner_id, with_for_update=True, populate_existing=True)
    if learner is None:
        raise NotYet(f"the learner {learner_id} is not known here yet")
    return learner
