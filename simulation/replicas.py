"""Replicas of the services: their real code in this process, each with a clock of its own, each may be killed."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from embedded.services import build
from shared.driver import SideConnection
from shared.jobs import Work, take_turn
from shared.mail import Postman
from shared.messaging.feed import Reconciler
from shared.messaging.relay import Relay
from shared.service import Process, housekeeping
from shared.storage import ObjectStorage
from simulation import instants
from simulation.activities import Died, current

if TYPE_CHECKING:
    from simulation.world import World

here: ContextVar["Replica | None"] = ContextVar("replica", default=None)
"""The replica whose code runs."""

LEFT_OUT = frozenset({"remove_orphans", "claim_store"})
"""Jobs about files, whose ages are the store's own."""


class Killed(Died):
    def __init__(self, replica: "Replica") -> None:
        super().__init__(str(replica))
        self.replica = replica


async def gate(name: str) -> None:
    """Where whatever runs may stop, and what was killed ends."""
    replica = here.get()
    if replica is not None:
        replica.must_live()
    activity = current.get()
    if activity is not None:
        await activity.stop_at(name)
        if replica is not None:
            replica.must_live()


class Replica:
    """One process of a service, from its start to its death."""

    def __init__(self, world: "World", name: str, number: int, ahead: timedelta) -> None:
        self.world, self.name, self.number, self.ahead = world, name, number, ahead
        self.dead = False
        self.connections: list[Any] = []  # Any: asyncpg ships no types
        service = build(name, world.place)
        resources = dict(service.resources)
        if ObjectStorage in resources:
            resources[ObjectStorage] = ObjectStorage(lambda: world.files[name])
        service = dataclasses.replace(service, resources=resources)
        with self.at_work():
            self.process = Process(service, clock=self.clock, mailer=world.post)
            self.relay = Relay(name, self.process.database, world.broker, wakeup=self.process.wakeup)
        self.app: Any = self.process.api  # Any: two spellings of one protocol
        self.work = Work(self.process.database, self.process.resources())
        self.postman = Postman(self.process.database, world.post, "p@example.org", name)
        self.reconciler = Reconciler(self.process.receiver, self.process.database, self.process.feeds())
        self.jobs = {job.__name__: job for job in (*service.jobs, *housekeeping(service.due_times))}
        self.jobs = {name: job for name, job in self.jobs.items() if name not in LEFT_OUT}
        for engine in (self.process.database.web, self.process.database.messaging):
            _put_gates(engine)

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    def clock(self) -> datetime:
        return self.world.time() + self.ahead

    def at_work(self) -> "_AtWork":
        return _AtWork(self)

    def must_live(self) -> None:
        if self.dead:
            raise Killed(self)

    async def do(self, work: Callable[[], Awaitable[Any]]) -> Any:  # Any: whatever it gives
        """Run a piece of this replica's background work."""
        with self.at_work():
            return await work()

    async def turn(self, job: str) -> bool:
        return await self.do(lambda: take_turn(job, self.jobs[job], self.work))

    async def pass_on(self) -> None:
        """What its own commits have handed to its relay."""
        rows, self.relay._handed = self.relay._handed, []
        if rows:
            await self.do(lambda: self.relay._send(rows))

    async def write_down(self) -> None:
        await self.do(self.relay._write_down)

    async def close(self) -> None:
        """End it as a crash does: nothing is said to anybody."""
        self.dead = True
        open_ = [one for one in self.connections if not one.is_closed()]
        pids = {one.get_server_pid() for one in open_}
        for one in open_:
            one.terminate()
        if pids:
            await asyncio.sleep(0)
            await self.world.databases.until_gone(pids)


class _AtWork:
    """While it lasts this replica's code runs, by its clock."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def __enter__(self) -> None:
        self._tokens = here.set(self._replica), instants.skew.set(lambda: self._replica.ahead)

    def __exit__(self, *_: object) -> None:
        was, skew = self._tokens
        here.reset(was)
        instants.skew.reset(skew)


def _put_gates(engine: AsyncEngine) -> None:
    pool = engine.sync_engine.pool
    connect = pool.connect

    def connect_after_gate() -> Any:  # Any: SQLAlchemy's own type
        await_only(gate("a transaction"))
        return connect()

    pool.connect = connect_after_gate

    def take(*_: object) -> None:
        if (activity := current.get()) is not None:
            activity.holding += 1

    def give(*_: object) -> None:
        if (activity := current.get()) is not None:
            activity.holding -= 1

    def stop_before_commit(_: object) -> None:
        replica, activity = here.get(), current.get()
        if activity is not None:
            await_only(activity.stop_inside("a commit"))
            if replica is not None:
                replica.must_live()

    event.listen(engine.sync_engine, "commit", stop_before_commit)
    event.listen(engine.sync_engine, "checkout", take)
    event.listen(engine.sync_engine, "checkin", give)
    event.listen(engine.sync_engine, "before_cursor_execute", _disturb, retval=True)


def _disturb(
    connection: Any, _: Any, statement: str, parameters: Any, *__: Any
) -> tuple[str, Any]:  # Any: SQLAlchemy's
    activity = current.get()
    trouble = None if activity is None else activity.trouble
    if trouble is None:
        return statement, parameters
    assert activity is not None
    if trouble.after > 0:
        trouble.after -= 1
        return statement, parameters
    activity.trouble, activity.troubled = None, True
    if trouble.state is None:
        connection.connection.driver_connection.terminate()
        return statement, parameters
    return f"do $$ begin raise exception 'simulated' using errcode = '{trouble.state}'; end $$", ()


def recording(connect: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:  # Any: asyncpg ships no types
    """asyncpg's connect, noting what belongs to which replica."""

    async def connect_for(*arguments: Any, **named: Any) -> Any:  # Any: asyncpg ships no types
        connection = await connect(*arguments, **named)
        if (replica := here.get()) is not None:
            replica.connections.append(connection)
            if replica.dead:
                connection.terminate()
        return connection

    return connect_for


def gated(driver: Callable[[SideConnection], Any]) -> Callable[[SideConnection], Any]:  # Any: a context manager
    """The connection beside, with a gate before each use."""

    class Gated:
        def __init__(self, side: SideConnection) -> None:
            self._inner = driver(side)

        async def __aenter__(self) -> Any:  # Any: asyncpg ships no types
            await gate("the connection beside")
            return await self._inner.__aenter__()

        async def __aexit__(self, *error: object) -> Any:  # Any: Python's own signature
            return await self._inner.__aexit__(*error)

    def open_gated(side: SideConnection) -> Gated:  # a function, for only such are bound to the object they are of
        return Gated(side)

    return open_gated
