"""The copy of the directory: whose entry is out of date, and whose address is confirmed."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.tables.people import Learner, Person


def outdated_people() -> Select[UUID]:
    """Select learners, in the order of their ids, whose name or address in use is not stored here yet."""
    learner = Learner
    return (
        select(learner.learner_id).where(learner.unread, learner.anonymised_at.is_(None)).order_by(learner.learner_id)
    )


async def versions_known(session: AsyncSession, learner_ids: Collection[UUID]) -> dict[UUID, tuple[int, int]]:
    """Return the latest version of each learner's name and address that was announced or is stored here."""
    learner, person = Learner, Person
    rows = await session.execute(
        select(
            learner.learner_id,
            func.greatest(learner.name_version, person.name_version),
            func.greatest(learner.contact_version, person.contact_version),
        )
        .outerjoin(person, person.learner_id == learner.learner_id)
        .where(learner.learner_id.in_(learner_ids))
    )
    return {learner_id: (name, contact) for learner_id, name, contact in rows}


def unconfirmed_people() -> Select[UUID]:
    """Select learners, in the order of their ids, of whose address it is not known whether it is confirmed.

    The answer came from, or was stored by, a release that did not have this.
    """
    person = Person
    return (
        select(person.learner_id)
        .where(person.confirmation_version.is_distinct_from(person.contact_version))
        .order_by(person.learner_id)
    )


def confirmed_email() -> ColumnElement[str | None]:
    """Return the address of a person that may stand in a badge, as an expression; null where there is none."""
    person = Person
    return case((and_(person.email_confirmed, person.confirmation_version == person.contact_version), person.email))


async def keep_as_they_are(session: AsyncSession, learner_ids: Select[UUID]) -> None:
    """Lock these learners, so that none gets another address or is erased until the transaction ends."""
    learner = Learner
    lock = select(learner.learner_id).where(learner.learner_id.in_(learner_ids)).order_by(learner.learner_id)
    await session.execute(lock.with_for_update(read=True))
