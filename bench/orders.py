"""Placing an order as a fast-path command, against the same through a session: whoever asks is on one core, the server
on the other."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from bench.measuring import Bench, Limit, Result, alternate
from bench.programs import LOAD_CORE, SERVER_CORE, ourselves_on, tie
from embedded.postgres import Postgres
from embedded.services import versions_of
from payments.commands import fast_orders, orders
from payments.tables import BasketItem, Learner, OfferedCourse, Price
from shared.database import Database, unit_of_work
from shared.idempotency import Asked, StoredReply, store_reply
from shared.ids import new_id
from shared.messaging.outbox import OutboxNotifier
from shared.migrate import migrate

CLIENTS = 8
COURSES = 30
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def measure(bench: Bench) -> list[Result]:
    async with Postgres(bench.folder / "postgres") as server:
        tie(server, LOAD_CORE)
        url = await server.create_role_and_database("payments")
        await migrate(url, versions_of("payments"))
        till = Till(Database(url, "payments", notifier=OutboxNotifier(), pool_size=2 * CLIENTS), bench.size(1000))
        try:
            await till.offer()
            rates = await alternate(bench.rounds, {"fast": till.fast, "session": till.session})
        finally:
            await till.database.dispose()
    return [
        Result(
            "order of one course, fast path",
            "orders/s of through a session",
            rates["fast"] / rates["session"],
            Limit(None, None),
            f"{rates['fast']:,.0f} of {rates['session']:,.0f}",
        )
    ]


class Till:
    def __init__(self, database: Database, count: int) -> None:
        self.database, self.count = database, count
        self.course_ids = [new_id() for _ in range(COURSES)]

    async def offer(self) -> None:
        async with self.database.transaction() as session:
            for course_id in self.course_ids:
                session.add(
                    OfferedCourse(course_id=course_id, course_version_id=new_id(), version=1, code="DS01", title="Data")
                )
                session.add(
                    Price(
                        price_id=new_id(),
                        course_id=course_id,
                        amount_minor=49500,
                        currency="GBP",
                        valid_from=LONG_AGO,
                    )
                )

    async def fast(self) -> float:
        async def place(learner_id: UUID) -> None:
            order, lines = await fast_orders.draw_up_order(self.database, learner_id, None)
            await fast_orders.place_order(self.database, order, lines, reply(learner_id))

        return await self._rate(place)

    async def session(self) -> float:
        async def place(learner_id: UUID) -> None:
            async with unit_of_work(self.database.requests) as session:
                await orders.place_order(session, learner_id, None)
                await store_reply(session, reply(learner_id))

        return await self._rate(place)

    async def _rate(self, place: Callable[[UUID], Awaitable[None]]) -> float:
        waiting = iter(await self._learners())

        async def client() -> None:
            for learner_id in waiting:
                await place(learner_id)

        with ourselves_on(SERVER_CORE):
            began = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(CLIENTS)))
            return self.count / (time.perf_counter() - began)

    async def _learners(self) -> Sequence[UUID]:
        """Registered, each with a course in the basket."""
        learner_ids = [new_id() for _ in range(self.count)]
        async with self.database.transaction() as session:
            session.add_all(Learner(learner_id=learner_id, registered_at=LONG_AGO) for learner_id in learner_ids)
            session.add_all(
                BasketItem(learner_id=learner_id, course_id=self.course_ids[place % COURSES], added_at=LONG_AGO)
                for place, learner_id in enumerate(learner_ids)
            )
        return learner_ids


def reply(learner_id: UUID) -> StoredReply:
    return StoredReply(Asked(str(learner_id), "place_order", "key", bytes(32)), 201, {}, b"{}" * 500)
