"""The event log as a feed, and the reconciliation that heals whatever the broker lost.

A position alone would skip events: a transaction that took an early position may commit late. So the feed is
ordered by (transaction id, position) and ends before the oldest transaction still running.
"""

import asyncio
import hmac
import logging
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Protocol

import httpx
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ValidationError
from sqlalchemy import text, update

from shared.database import Database, is_database_down
from shared.errors import Malformed, Unauthenticated
from shared.messaging.inbox import Receiver
from shared.messaging.tables import FeedPosition

log = logging.getLogger(__name__)

START = "0.0"
_CURSOR = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}")
PAGE = 500
MOST_ATTEMPTS = 3
"""At one page; after that an event in it must be what ends the process each time."""


class FeedPage(BaseModel):
    bodies: list[str]
    cursor: str
    """Where the next page begins; the same as asked where there is nothing new."""


class BadFeedCursor(Malformed):
    """A feed cursor is two numbers, `transaction.position`."""


async def read_page(database: Database, types: Sequence[str], after: str, limit: int = PAGE) -> FeedPage:
    """The events of these types after the cursor, oldest first, none that a late commit could still precede."""
    if not _CURSOR.fullmatch(after):
        raise BadFeedCursor(after)
    xid, _, position = after.partition(".")
    async with database.messaging.connect() as connection:
        rows = (
            await connection.execute(
                text(
                    "select xid::text as xid, position, body from outbox "
                    "where type = any(:types) "
                    "and (xid, position) > (cast(cast(:xid as text) as xid8), :position) "
                    "and xid < pg_snapshot_xmin(pg_current_snapshot()) "
                    "order by xid, position limit :limit"
                ),
                {"types": list(types), "xid": xid, "position": int(position), "limit": limit},
            )
        ).all()
    cursor = f"{rows[-1].xid}.{rows[-1].position}" if rows else after
    return FeedPage(bodies=[row.body for row in rows], cursor=cursor)


router = APIRouter(include_in_schema=False)


@router.get("/internal/events", operation_id="read_feed")
async def read_feed(
    request: Request,
    types: Annotated[list[str], Query()],
    after: str = START,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
    authorization: Annotated[str, Header()] = "",
) -> FeedPage:
    """This service's event log, for the other services alone."""
    admit_service(request, authorization)
    return await read_page(request.app.state.database, types, after, limit)


def admit_service(request: Request, authorization: str) -> None:
    """Raises Unauthenticated unless the caller knows the secret the services share."""
    secret: str = request.app.state.feed_secret
    if not hmac.compare_digest(authorization.encode(), f"Bearer {secret}".encode()):
        raise Unauthenticated("this is for services of this platform")


class Feed(Protocol):
    async def read(self, types: Sequence[str], after: str) -> FeedPage: ...


class HttpFeed:
    def __init__(self, base_url: str, secret: str, client: httpx.AsyncClient) -> None:
        self._url, self._secret, self._client = f"{base_url}/internal/events", secret, client

    async def read(self, types: Sequence[str], after: str) -> FeedPage:
        answer = await self._client.get(
            self._url,
            params=[*(("types", name) for name in types), ("after", after)],
            headers={"Authorization": f"Bearer {self._secret}"},
        )
        answer.raise_for_status()
        return FeedPage.model_validate_json(answer.content)


class Reconciler:
    """Pulls from every producer what this service's inbox lacks."""

    def __init__(self, receiver: Receiver, database: Database, feeds: Mapping[str, Feed]) -> None:
        self.receiver, self.database, self.feeds = receiver, database, feeds

    async def run(self, *, every_seconds: float = 60.0) -> None:
        while True:
            try:
                if count := await self.receiver.take_up_heard():
                    log.info("taken up what the release before did not hear", extra={"count": count})
            except Exception as error:
                if not is_database_down(error):
                    raise
                log.warning("the database is down", extra={"error": repr(error)})
            for source in self.feeds:
                try:
                    await self.catch_up(source)
                except Exception as error:
                    if not (isinstance(error, httpx.HTTPError | ValidationError) or is_database_down(error)):
                        raise
                    log.warning("feed not read", extra={"source": source, "error": repr(error)})
            await asyncio.sleep(every_seconds)

    async def catch_up(self, source: str) -> int:
        """Read one producer's feed to its end; how many events were looked at."""
        types = {name for name in self.receiver.inbox.types if name.partition(".")[0] == source}
        if not types:
            return 0
        async with self.database.transaction() as session:
            position = await session.get(FeedPosition, source)
            if position is None:
                position = FeedPosition(source=source, cursor=START, types=sorted(types), attempts=0)
                session.add(position)
        seen = 0
        if missed := types - set(position.types):  # a release hears more than the one before it
            seen += await self._read(position, missed, START)
            position.types = sorted(types)
            await self._keep(position)
        return seen + await self._read(position, types, position.cursor)

    async def _read(self, position: FeedPosition, types: AbstractSet[str], cursor: str) -> int:
        """From the cursor to the end. The position moves along, unless it is ahead."""
        ahead = cursor != position.cursor
        seen = 0
        while True:
            page = await self.feeds[position.source].read(sorted(types), cursor)
            if not page.bodies:
                return seen
            bodies = [body.encode() for body in page.bodies]
            position.attempts += 1
            await self._keep(position)  # counted before the try
            if position.attempts <= MOST_ATTEMPTS:
                await self.receiver.take(bodies)
            else:
                await self.receiver.suspect(bodies, "a page of the feed with this event was never finished")
            seen += len(bodies)
            cursor, position.attempts = page.cursor, 0
            if not ahead:
                position.cursor = cursor
            await self._keep(position)

    async def _keep(self, position: FeedPosition) -> None:
        async with self.database.transaction() as session:
            await session.execute(
                update(FeedPosition)
                .where(FeedPosition.source == position.source)
                .values(
                    cursor=position.cursor,
                    types=position.types,
                    attempts=position.attempts,
                    read_at=text("now()"),
                )
            )
