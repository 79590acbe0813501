"""What an operator does about a feed: see how far it was read, have it read anew, list events that never arrived."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database, now
from shared.ids import made_at
from shared.messaging.deduplication import KEPT_DAYS, Key, digests_of
from shared.messaging.epochs import START
from shared.messaging.feed import Feed
from shared.messaging.inbox import Inbox
from shared.messaging.message import attributes_of
from shared.messaging.tables import FeedPosition


@dataclass(frozen=True, slots=True)
class Missing:
    """An event that this service subscribes to and has neither handled nor put off nor dead-lettered."""

    source: str
    id: UUID
    type: str
    forgotten: bool
    """Whether it is so old that it may have been handled and its key deleted since; only reading it anew makes sure."""


async def positions(session: AsyncSession) -> Sequence[FeedPosition]:
    """Return how far each feed was read, by source."""
    return (await session.scalars(select(FeedPosition).order_by(FeedPosition.source))).all()


async def read_anew(session: AsyncSession, sources: Sequence[str], installation: UUID | None = None) -> int:
    """Have these feeds (all, where none is named) read from the beginning, within a minute; return how many they are.

    `installation` is that whose log is read from now on, where another's was read before. An event whose key is still
    kept is not handled again; an older one is, and handlers accept that.
    """
    which = FeedPosition.source.in_(sources) if sources else text("true")
    done = await session.execute(
        update(FeedPosition)
        .where(which)
        .values(cursor=START, attempts=0, installation=installation or FeedPosition.installation)
        .returning(FeedPosition.source)
    )
    return len(done.all())


async def missing(database: Database, inbox: Inbox, feeds: Mapping[str, Feed]) -> AsyncIterator[Missing]:
    """Read the feeds from the beginning, change nothing, and yield the events that never arrived, as they are found.

    Events that are on their way at this moment count as missing.
    """
    for source, feed in feeds.items():
        types = sorted(name for name in inbox.types if name.partition(".")[0] == source)
        cursor = START
        while types:
            page = await feed.read(types, cursor)
            if not page.bodies:
                break
            cursor = page.cursor
            events: dict[Key, str] = {}
            for body in page.bodies:
                attributes = attributes_of(body.encode())
                events[attributes["source"], UUID(attributes["id"])] = attributes["type"]
            async with database.transaction() as session:
                arrived = await digests_of(session, list(events))
                forgotten = now(session) - timedelta(days=KEPT_DAYS)
            for key, type_ in events.items():
                if key not in arrived:
                    yield Missing(*key, type_, made_at(key[1]) < forgotten)
