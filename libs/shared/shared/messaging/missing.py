"""What a person does about a feed: see how far it was read, have it read anew, ask what never arrived."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database, now
from shared.ids import made_at
from shared.messaging.claim import KEPT_DAYS, Key
from shared.messaging.epochs import START
from shared.messaging.feed import Feed
from shared.messaging.inbox import Inbox, digests_of
from shared.messaging.message import attributes_of
from shared.messaging.tables import FeedPosition


@dataclass(frozen=True, slots=True)
class Missing:
    """An event of another service that this one hears and has neither handled nor put off nor parked."""

    source: str
    id: UUID
    type: str
    forgotten: bool
    """It is so old that its key may have been handled and forgotten; only reading it anew makes sure."""


async def positions(session: AsyncSession) -> Sequence[FeedPosition]:
    return (await session.scalars(select(FeedPosition).order_by(FeedPosition.source))).all()


async def read_anew(session: AsyncSession, sources: Sequence[str]) -> int:
    """Have these feeds (all, where none is named) read from the beginning, within a minute; how many they are.

    What was handled is not handled again as long as its key is kept; handlers stand the others.
    """
    which = FeedPosition.source.in_(sources) if sources else text("true")
    done = await session.execute(
        update(FeedPosition).where(which).values(cursor=START, attempts=0).returning(FeedPosition.source)
    )
    return len(done.all())


async def missing(database: Database, inbox: Inbox, feeds: Mapping[str, Feed]) -> AsyncIterator[Missing]:
    """Read the feeds from the beginning, change nothing, and tell what never arrived, as it is found.

    What is on its way at this moment counts as missing.
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
