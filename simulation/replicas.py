"""Replicas of the services: their real code in this process; each has a clock of its own and can be killed."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import LRUCache, await_only

from embedded.services import build
from shared.driver import SideConnection
from shared.emails import EmailSender
from shared.jobs import Work, run_exclusively
from shared.messaging.reconciliation import Reconciler
from shared.messaging.relay import Relay
from shared.process import Process, housekeeping
from shared.storage import ObjectStorage
from simulation import instants
from simulation.activities import CUT, SILENT, UNANSWERED, Activity, Died, current

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

here: ContextVar["Replica | None"] = ContextVar("replica", default=None)
"""The replica whose code is running."""

LEFT_OUT = frozenset({"remove_orphans", "claim_store"})
"""Jobs that go by the ages of files, which the store takes from the machine's clock."""


class Killed(Died):
    def __init__(self, replica: "Replica") -> None:
        super().__init__(str(replica))
        self.replica = replica


async def gate(name: str) -> None:
    """Mark a point at which the running activity may stop, and at which the code of a killed replica ends."""
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

    def __init__(self, platform: "SimulatedPlatform", name: str, number: int, ahead: timedelta) -> None:
        self.platform, self.name, self.number, self.ahead = platform, name, number, ahead
        self.dead = False
        self.connections: list[Any] = []  # Any: asyncpg ships no types
        service = build(name, platform.deployment)
        resources = dict(service.resources)
        if ObjectStorage in resources:
            # Each platform has empty stores, and databases that begin as copies
            resources[ObjectStorage] = ObjectStorage(lambda: platform.files[name], lasts=False)
        service = dataclasses.replace(service, resources=resources)
        with self.at_work():
            self.process = Process(service, clock=self.clock, mailer=platform.post)
            self.relay = Relay(name, self.process.database, platform.broker, notifier=self.process.notifier)
        self.app: Any = self.process.api  # Any: two spellings of one protocol
        self.work = Work(self.process.database, self.process.resources())
        self.email_sender = EmailSender(
            self.process.database,
            platform.post,
            "p@example.org",
            name,
            contact="help@example.org",
            home="http://localhost",
        )
        self.reconciler = Reconciler(self.process.receiver, self.process.database, self.process.feeds())
        self.every_job = {job.__name__: job for job in (*service.jobs, *housekeeping(service.due_times))}
        self.jobs = {name: job for name, job in self.every_job.items() if name not in LEFT_OUT}
        for engine in (self.process.database.web, self.process.database.messaging):
            _put_gates(engine)
            engine.sync_engine._compiled_cache = _COMPILED
            event.listen(engine.sync_engine, "after_cursor_execute", self._note_writing)

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    def clock(self) -> datetime:
        return self.platform.time() + self.ahead

    def at_work(self) -> "_AtWork":
        return _AtWork(self)

    def must_live(self) -> None:
        if self.dead:
            raise Killed(self)

    async def do(self, work: Callable[[], Awaitable[Any]]) -> Any:  # Any: whatever it gives
        """Run a piece of this replica's background work."""
        with self.at_work():
            return await work()

    async def run_job(self, job: str, *, alone: bool = True) -> None:
        """Run a job. Not `alone`: without its lease, as beside another replica after this machine stood still."""
        if alone:
            await self.do(lambda: run_exclusively(job, self.jobs[job], self.work))
        else:
            await self.do(lambda: self.jobs[job](self.work))

    async def read(self, source: str) -> None:
        """Read a feed as its loop does, which survives a page that does not come in time."""
        with suppress(httpx.HTTPError):
            await self.do(lambda: self.reconciler.catch_up(source))

    def _note_writing(self, _: object, cursor: Any, statement: str, *__: object) -> None:  # Any: SQLAlchemy's
        """Count the statements that changed rows: they may give the service's jobs something to do."""
        if cursor.rowcount > 0 and statement.lstrip()[:6].lower() != "select":
            self.platform.written[self.name] += 1

    async def pass_on(self) -> None:
        """Send the events that its own commits have handed off to its relay."""
        rows, self.relay._handed = self.relay._handed, []
        if rows:
            await self.do(lambda: self.relay._send(rows))

    async def write_down(self) -> None:
        await self.do(self.relay._write_down)

    async def close(self) -> None:
        """End the replica as a crash does: its connections break off without a word."""
        self.dead = True
        open_ = [one for one in self.connections if not one.is_closed()]
        pids = {one.get_server_pid() for one in open_}
        for one in open_:
            one.terminate()
        if pids:
            await asyncio.sleep(0)
            await self.platform.databases.until_gone(pids)


class _AtWork:
    """A context in which this replica's code runs, by its clock."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def __enter__(self) -> None:
        self._tokens = here.set(self._replica), instants.skew.set(lambda: self._replica.ahead)

    def __exit__(self, *_: object) -> None:
        was, skew = self._tokens
        here.reset(was)
        instants.skew.reset(skew)


_COMPILED: Final = LRUCache[Any, Any](5000)
"""Compiled statements, shared by all replicas: the platform makes their dialects equal."""


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

    def stop_before_commit(connection: Any) -> None:  # Any: SQLAlchemy's
        replica, activity = here.get(), current.get()
        if activity is not None:
            await_only(activity.stop_inside("a commit"))
            if replica is not None:
                replica.must_live()
            if _trouble_of(activity, is_commit=True) is not None:
                driver = connection.connection.driver_connection
                await_only(driver.execute("commit"))
                _fall_silent(driver)

    event.listen(engine.sync_engine, "commit", stop_before_commit)
    event.listen(engine.sync_engine, "checkout", take)
    event.listen(engine.sync_engine, "checkin", give)
    event.listen(engine.sync_engine, "before_cursor_execute", _disturb, retval=True)


def _disturb(
    connection: Any, _: Any, statement: str, parameters: Any, *__: Any
) -> tuple[str, Any]:  # Any: SQLAlchemy's
    activity = current.get()
    how = None if activity is None else _trouble_of(activity)
    if how is None:
        return statement, parameters
    driver = connection.connection.driver_connection
    if how == CUT:
        driver.terminate()
    elif how == SILENT:
        _fall_silent(driver)
    else:
        return f"do $$ begin raise exception 'simulated' using errcode = '{how}'; end $$", ()
    return statement, parameters


def _trouble_of(activity: Activity, *, is_commit: bool = False) -> str | None:
    """Return the trouble that this statement, or this commit, is to meet now, or None."""
    trouble = activity.trouble
    if trouble is None or (trouble.how == UNANSWERED) != is_commit:
        return None
    if trouble.after > 0:
        trouble.after -= 1
        return None
    activity.trouble, activity.troubled = None, True
    return trouble.how


def _fall_silent(driver: Any) -> None:  # Any: asyncpg ships no types
    """Let every statement on this connection time out from now on."""
    driver._config = driver._config._replace(command_timeout=0)


def recording(connect: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:  # Any: asyncpg ships no types
    """Wrap asyncpg's `connect` so that each replica knows its connections."""

    async def connect_for(*arguments: Any, **named: Any) -> Any:  # Any: asyncpg ships no types
        connection = await connect(*arguments, **named)
        if (replica := here.get()) is not None:
            replica.connections.append(connection)
            if replica.dead:
                connection.terminate()
        return connection

    return connect_for


def gated(driver: Callable[[SideConnection], Any]) -> Callable[[SideConnection], Any]:  # Any: a context manager
    """Wrap the driver of a SideConnection so that there is a gate before each use."""

    class Gated:
        def __init__(self, side: SideConnection) -> None:
            self._inner = driver(side)

        async def __aenter__(self) -> Any:  # Any: asyncpg ships no types
            await gate("the connection beside")
            return await self._inner.__aenter__()

        async def __aexit__(self, *error: object) -> Any:  # Any: Python's own signature
            return await self._inner.__aexit__(*error)

    def open_gated(side: SideConnection) -> Gated:  # a function, since a class would not be bound as a method
        return Gated(side)

    return open_gated
