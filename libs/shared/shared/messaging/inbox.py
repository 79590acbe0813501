"""What a service does about the events it subscribes to: their handlers and projections, by type."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared import telemetry
from shared.database import TableBase, now, record_of
from shared.events import Event
from shared.messaging.deduplication import Projection, RowOf
from shared.messaging.message import UNKNOWN_TYPE, Message, Unreadable, read
from shared.messaging.outbox import HANDLING

E = TypeVar("E", bound=Event)
Handler = Callable[[AsyncSession, E], Awaitable[None]]

LONGEST_SECONDS: Final = 8.0
"""Limit for one event's handlers: less than the ten after which PostgreSQL ends an idle transaction. Long work is a
job."""


class Inbox:
    """The handlers and projections of one service, by the type of event."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._handlers: dict[str, list[Handler[Any]]] = {}  # Any: each handler takes its own event class
        self._projections: dict[str, Projection] = {}
        self._remembering: dict[str, list[Handler[Any]]] = {}

    def project(self, table: type[TableBase], *kinds: type[Event]) -> Callable[[RowOf], RowOf]:
        """Store each of these events as the row the decorated function makes of it, and do nothing else about it.

        A row that is there already stays; columns the function leaves unset are null. The row is written in one
        statement with the claim, at a quarter of the cost of a handler and its transaction: for frequent events that
        are only remembered. Raises TypeError: one of the types has a handler.
        """

        def register(row_of: RowOf) -> RowOf:
            async def keep(session: AsyncSession, event: Event) -> None:
                row = record_of(row_of(event, now(session)))
                await session.execute(insert(table).values(row).on_conflict_do_nothing())

            projection = Projection(table, row_of)
            for type_ in kinds:
                if type_.type in self._handlers:
                    raise TypeError(f"{type_.type} is handled, and cannot be only kept")
                self.on(type_)(keep)
                self._projections[type_.type] = projection
            return row_of

        return register

    def on(self, kind: type[E], *others: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Handle these events with the decorated function; one that takes another event does not type-check.

        Raises TypeError: one of the types is projected.
        """

        def register(handler: Handler[E]) -> Handler[E]:
            for type_ in (kind, *others):
                if type_.type in self._projections:
                    raise TypeError(f"{type_.type} is kept, and nothing else is done about it")
                self._handlers.setdefault(type_.type, []).append(handler)
            return handler

        return register

    def remember(self, kind: type[E], *others: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Store a fact of these events with the decorated function, whatever their handlers raise: of an event that is
        put off the fact is stored before the next try, and again at each. The types need a handler besides."""

        def register(handler: Handler[E]) -> Handler[E]:
            for type_ in (kind, *others):
                self._remembering.setdefault(type_.type, []).append(handler)
            return handler

        return register

    async def store_facts(self, session: AsyncSession, event: Event) -> None:
        """Store what is remembered of one event, in this transaction."""
        for handler in self._remembering.get(event.type, ()):
            await handler(session, event)

    def remembers(self, event: Event) -> bool:
        """Return whether a fact of such events is stored whatever their handlers raise."""
        return event.type in self._remembering

    def projection(self, type_: str) -> Projection | None:
        """Return the projection of this type of event; None where it is handled or not subscribed to."""
        return self._projections.get(type_)

    @property
    def types(self) -> frozenset[str]:
        """The types of event this service subscribes to."""
        return frozenset(self._handlers)

    def read(self, body: bytes) -> Message:
        """Parse an envelope.

        Raises Unreadable: it is no event we know, or none this service subscribes to.
        """
        message = read(body)
        if message.type not in self._handlers:
            raise Unreadable(UNKNOWN_TYPE, f"{self.service} does not consume {message.type}")
        return message

    async def receive(self, session: AsyncSession, event: Event) -> None:
        """Store what is remembered of one event, and run its handlers, in this transaction."""
        await self.store_facts(session, event)
        for handler in self._handlers[event.type]:
            await handler(session, event)

    async def handle(self, session: AsyncSession, message: Message) -> None:
        """Run the handlers of one event, as part of the trace and the request it comes from.

        Raises TimeoutError: they took longer than LONGEST_SECONDS.
        """
        request = telemetry.request_id.set(message.request_id)
        trace = telemetry.traceparent.set(telemetry.accept_traceparent(message.traceparent))
        session.info[HANDLING] = str(message.id)
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self.receive(session, message.event)
        finally:
            del session.info[HANDLING]
            telemetry.traceparent.reset(trace)
            telemetry.request_id.reset(request)
