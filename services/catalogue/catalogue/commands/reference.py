"""Commands on institutions and subjects, which courses refer to."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from catalogue import domain
from catalogue.commands.listings import lock_courses, renew_listings
from catalogue.commands.writing import write
from catalogue.queries.rows import course_ids_of_subject
from catalogue.tables import Institution, Subject
from shared import texts
from shared.clock import instant_after
from shared.database import fetch, now
from shared.errors import DomainError
from shared.events.catalogue import SubjectRenamed
from shared.ids import new_id
from shared.messaging.outbox import publish

BATCH: Final = 20
"""Listings renewed in one transaction: for 0.1 to 0.2 s these courses' editors wait."""
FROM_THE_FIRST: Final = UUID(int=0)


async def create_institution(
    session: AsyncSession, *, slug: str, name: str, homepage: str, country: str
) -> Institution:
    institution = Institution(
        institution_id=new_id(),
        slug=slug,
        name=name,
        homepage=homepage,
        country=country,
        created_at=now(session),
    )
    taken = domain.SlugTaken(f'another institution is called "{slug}"')
    await write(session, institution, {"uq_institutions_slug": taken})
    return institution


async def create_subject(session: AsyncSession, *, slug: str, name: str, award_name: str, description: str) -> Subject:
    wanted = domain.award_name(award_name, domain.in_force(now(session)))
    subject = Subject(
        subject_id=new_id(),
        slug=slug,
        name=name,
        award_name=wanted,
        award_key=texts.key(wanted),
        description=description,
        created_at=now(session),
    )
    errors: dict[str, DomainError] = {"uq_subjects_slug": domain.SlugTaken(f'another subject is called "{slug}"')}
    await write(session, subject, errors | _taken(wanted))
    return subject


async def rename_subject(session: AsyncSession, subject_id: UUID, *, name: str, award_name: str) -> Subject:
    """Give a subject other names from now on and publish SubjectRenamed; a job renews the listings.

    Credit keeps the name it was awarded under.

    :raises AwardNameTaken: 409
    :raises AmbiguousAwardName: 422
    :raises ReservedAwardName: 422
    """
    subject = await fetch(session, Subject, subject_id, lock=True)
    wanted = domain.award_name(award_name, domain.in_force(now(session)))
    if (name, wanted) == (subject.name, subject.award_name):
        return subject
    renamed = wanted != subject.award_name
    subject.name, subject.award_name, subject.renewed_up_to = name, wanted, FROM_THE_FIRST
    subject.award_key = texts.key(wanted)
    await write(session, subject, _taken(wanted))
    if renamed:
        # Later than every renaming before, also where another replica's clock is ahead: consumers keep the latest.
        at, before = now(session), subject.renamed_at
        subject.renamed_at = at = instant_after(before, at)
        publish(session, SubjectRenamed(subject_id=subject_id, award_name=wanted, effective_from=at))
    return subject


def _taken(award_name: str) -> dict[str, DomainError]:
    taken = domain.AwardNameTaken(f'another subject awards "{award_name}"')
    return dict.fromkeys(("uq_subjects_award_name", "uq_subjects_award_key"), taken)


async def renew_some_listings(session: AsyncSession, subject_id: UUID) -> bool:
    """Renew the next listings of a renamed subject. Returns whether there may be more."""
    reached, course_ids = await next_courses(session, subject_id)
    if reached is None:
        return False
    await lock_courses(session, course_ids)  # before the subject, in the order in which publishing locks them
    if await go_past(session, subject_id, reached, course_ids):
        await renew_listings(session, course_ids)
    return True


async def next_courses(session: AsyncSession, subject_id: UUID) -> tuple[UUID | None, Sequence[UUID]]:
    """Return how far the listings of a renamed subject are renewed, None if all are, and the courses that follow."""
    reached = (await fetch(session, Subject, subject_id)).renewed_up_to
    if reached is None:
        return None, []
    return reached, await course_ids_of_subject(session, subject_id, reached, limit=BATCH)


async def go_past(session: AsyncSession, subject_id: UUID, reached: UUID, course_ids: Sequence[UUID]) -> bool:
    """Note that these courses' listings are renewed or set aside.

    Returns False if the subject was renamed once more meanwhile: then renewing begins anew.
    """
    subject = await fetch(session, Subject, subject_id, lock=True)
    if subject.renewed_up_to != reached:
        return False
    subject.renewed_up_to = course_ids[-1] if course_ids else None
    return True
