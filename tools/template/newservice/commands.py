"""Load, decide, store, announce: one function per thing one may ask of this service."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from newservice import domain
from newservice.tables import Entry
from shared.ids import new_id


async def create_newservice_entry(session: AsyncSession, title: str) -> Entry:
    """Add an entry; raises NewserviceTitleTaken."""
    wanted = {"entry_id": new_id(), "title": title, "title_key": domain.title_key(title)}
    entry = await session.scalar(insert(Entry).values(wanted).on_conflict_do_nothing().returning(Entry))
    if entry is None:
        raise domain.NewserviceTitleTaken(f'another entry is called "{title}"')
    return entry
