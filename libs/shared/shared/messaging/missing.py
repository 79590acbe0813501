"""What an operator does about a feed: see how far it was read, have it read anew, list events that never arrived and
those that its owner has lost."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database, now
from shared.ids import made_at
from shared.messaging.deduplication import KEPT_DAYS, Key, digests_of
from shared.messaging.epochs import START
from shared.messaging.feed import MOST_IDS, Feed, LogOwner, pages_of
from shared.messaging.inbox import Inbox
from shared.messaging.message import Unreadable, head_of, subject_of
from shared.messaging.tables import FeedPosition


@dataclass(frozen=True, slots=True)
class Missing:
    """An event that this service subscribes to and has neither handled nor put off nor dead-lettered."""

    source: str
    id: UUID
    type: str
    forgotten: bool
    """Whether it is so old that it may have been handled and its key deleted since; only reading it anew makes sure."""


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """An entry of a feed that is no event of its owner's, so that nobody can tell whether it has arrived."""

    source: str
    """The service whose feed it is."""
    after: str
    """The cursor of the page it is in."""
    number: int
    """Its place in that page, from 1."""
    sha256: str
    """The digest of its body, in hexadecimal: of the outbox row's there and, if it has arrived, of a dead letter's
    here."""
    error: str


@dataclass(frozen=True, slots=True)
class Lost:
    """An event that this service has taken in and its source does not have: it was lost there."""

    source: str
    id: UUID
    type: str
    subject: str | None
    """The id of what the event is about; None where the previous release took the event in."""
    made_at: datetime


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


async def missing(
    database: Database, inbox: Inbox, feeds: Mapping[str, Feed]
) -> AsyncIterator[Missing | UnreadableEntry]:
    """Read the feeds from the beginning, change nothing, and yield the events that never arrived and the entries that
    are no events, as they are found.

    Events that are on their way at this moment count as missing. Raises FeedAway.
    """
    for source, feed in feeds.items():
        types = {name for name in inbox.types if name.partition(".")[0] == source}
        if not types:
            continue
        cursor = START
        async for page in pages_of(feed, types, cursor):
            events: dict[Key, str] = {}
            for number, body in enumerate(page.bodies, 1):
                try:
                    key, type_ = _read_key(body.encode(), source)
                except Unreadable as error:
                    digest = hashlib.sha256(body.encode()).hexdigest()
                    yield UnreadableEntry(source, cursor, number, digest, str(error))
                else:
                    events[key] = type_
            cursor = page.cursor
            async with database.transaction() as session:
                arrived = await digests_of(session, list(events))
                kept_since = now(session) - timedelta(days=KEPT_DAYS)
            for key, type_ in events.items():
                if key not in arrived:
                    yield Missing(*key, type_, made_at(key[1]) < kept_since)


async def lost(database: Database, owners: Mapping[str, LogOwner]) -> AsyncIterator[Lost]:
    """Yield the events that this service took in and that their publishers' logs do not have, the last one first.

    Events older than the kept inbox keys are not known any more. Raises FeedAway.
    """
    for source, owner in owners.items():
        before = UUID(int=(1 << 128) - 1)
        while True:
            values = {"source": f"/services/{source}", "before": before, "most": MOST_IDS}
            async with database.transaction() as session:
                taken = {row.id: row for row in await session.execute(_TAKEN_BEFORE, values)}
            if not taken:
                break
            lacks = set(await owner.lacking(list(taken)))
            for id_, row in taken.items():
                if id_ in lacks:
                    subject = row.subject if row.body is None else subject_of(row.body)
                    yield Lost(source, id_, row.type, subject, made_at(id_))
            before = min(taken)


_TAKEN_BEFORE: Final = text("""
    (
        select id, type, subject, cast(null as bytea) as body from inbox
        where source = :source and id < :before order by id desc limit :most
    )
    union all (
        select id, type, null, body from inbox_retry
        where source = :source and id < :before order by id desc limit :most
    )
    order by id desc limit :most
""")


def _read_key(body: bytes, service: str) -> tuple[Key, str]:
    """Return the key and the type of an event of this service's.

    Raises Unreadable: it is none.
    """
    id_, source, type_, _ = head_of(body)
    if source != f"/services/{service}":
        raise Unreadable("malformed", f"its source is {source!r}")
    return (source, id_), type_
