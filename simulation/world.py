"""One world: replicas of every service, what lies between them, and how badly it is disposed."""

import asyncio
import random
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import asyncpg
import httpx
from obstore.store import MemoryStore
from pydantic import ValidationError

import gateway.app
import shared.service
from embedded import ports
from embedded.services import NAMES, SECRETS, Place
from gateway.adapters.hashing import Hashing
from shared import crashes
from shared.driver import SideConnection
from shared.messaging.relay import TransportDown
from shared.outages import DATABASE_ERRORS
from simulation import instants
from simulation.activities import Activity, Trouble, current
from simulation.databases import Databases
from simulation.network import Broker, Network, Post
from simulation.provider import Provider
from simulation.replicas import Killed, Replica, gated, here, recording

REPLICAS: Final = 2
SKEWS: Final = (-0.4, 0.9, -0.9, 0.6)
"""Seconds, that a clock which was compared with the database's may still stand ahead (decision 28)."""
_SECRETS: Final = dict.fromkeys(SECRETS, "c2ltdWxhdGVkLXNlY3JldC1vZi0zMi1ieXRlcy4uLi4=")
ENDINGS: Final = (*DATABASE_ERRORS, TransportDown, httpx.HTTPError, ValidationError)
"""What a loop of a process survives."""


_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


_WAITING: Final = "select count(*) from pg_stat_activity where datname like $1 and wait_event_type = 'Lock'"


class Violation(AssertionError):
    """Something that must hold does not."""


class World:
    def __init__(self, databases: Databases, worker: str, seed: str, behaviours: frozenset[str] = frozenset()) -> None:
        self.databases, self.worker, self.seed, self.behaviours = databases, worker, seed, behaviours
        self.chance = random.Random(seed)
        self.time = instants.WorldTime()
        self.place = Place(Path("/nowhere"), ports.assign({}), databases.urls(worker), secrets=_SECRETS, ample=True)
        self.files = {name: MemoryStore() for name in NAMES}
        self.post, self.broker = Post(), Broker(self)
        self.calm = True
        self.network = Network(self)
        self.replicas: dict[str, list[Replica]] = {name: [] for name in NAMES}
        self.hearers: dict[str, frozenset[str]] = {}
        self.dying: list[Replica] = []
        self.crash_at: tuple[str, int] | None = None
        """A crash point, and how often it is passed before somebody dies there."""
        self.under_way: list[Activity] = []
        self.changes = 0
        """Requests of people that may have changed something."""
        self.violations: list[str] = []
        self.answers: Counter[str] = Counter()
        """What people were answered: how often which."""
        self.caused = 0
        """Statements that were made to fail, and replicas killed: for either a row may be set aside."""
        self.provider: Provider
        self.courses: list[dict[str, Any]] = []
        self.learners: list[Any] = []  # Any: simulation.learners.Learner
        self.staff: Any = None  # Any: simulation.staff.Staff
        self.partner: Any = None  # Any: simulation.partners.Partner
        self.programme = ""
        """Into which credit may be transferred."""
        self.callbacks: list[bytes] = []
        """On their way from the provider."""
        self.model: dict[str, dict[str, dict[str, Any]]] = {}
        """What somebody was told has happened: kind -> id -> what was told."""

    # how badly it is disposed

    @property
    def losses(self) -> float:
        return 0.0 if self.calm or "lost answers" not in self.behaviours else 0.04

    @property
    def drops(self) -> float:
        return 0.0 if self.calm or "dropped events" not in self.behaviours else 0.15

    @property
    def doubles(self) -> float:
        return 0.0 if self.calm or "doubled events" not in self.behaviours else 0.2

    @property
    def disorder(self) -> float:
        return 0.0 if self.calm or "disorder" not in self.behaviours else 0.6

    def heard(self, kind: str, id_: str, **told: Any) -> None:
        """Somebody was answered that this is so; from now on it must be, whatever happens."""
        self.model.setdefault(kind, {})[id_] = told

    def answered(self, method: str, path: str, status: int, code: str) -> None:
        self.answers[f"{method} {_ID.sub('*', path)} {status} {code}".rstrip()] += 1

    def violate(self, what: str, told: object) -> None:
        self.violations.append(f"{what}: {told}")

    # its life

    @contextmanager
    def exists(self) -> Iterator[None]:
        """While it lasts this process is this world's."""
        with ExitStack() as stack:
            stack.enter_context(instants.governing(self.time, self.chance))
            stack.enter_context(patch.object(httpx.AsyncClient, "_init_transport", self._transport_of))
            stack.enter_context(patch.object(asyncpg, "connect", recording(asyncpg.connect)))
            stack.enter_context(patch.object(SideConnection, "driver", gated(SideConnection.driver)))
            stack.enter_context(patch.object(shared.service, "_check_access", lambda *_: None))
            stack.enter_context(patch.object(gateway.app, "Hashing", _Hashing))
            stack.enter_context(patch.object(gateway.app, "common_passwords", frozenset))
            point = crashes.crash_point
            for module in list(sys.modules.values()):
                if getattr(module, "crash_point", None) is point:
                    stack.enter_context(patch.object(module, "crash_point", self._pass))
            yield

    def _transport_of(self, *_: object, transport: httpx.AsyncBaseTransport | None = None, **__: object) -> Any:
        return transport or self.network

    def _pass(self, point: str) -> None:
        replica = here.get()
        if replica is None:
            return
        replica.must_live()
        if self.crash_at is not None and current.get() is not None and self.crash_at[0] in {point, "any"}:
            name, left = self.crash_at
            self.crash_at = (name, left - 1) if left else None
            if not left:
                self.doom(replica)
                raise Killed(replica)

    async def begin(self) -> None:
        self.time.tell_databases(self.databases.clocks(self.worker))
        self.provider = Provider(self)
        for name in NAMES:
            for number in range(REPLICAS):
                self.start(name, number)
        self.hearers = {name: self.replicas[name][0].process.service.inbox.types for name in NAMES}

    def start(self, name: str, number: int) -> None:
        ahead = timedelta()
        if "skew" in self.behaviours:
            ahead = timedelta(seconds=self.chance.choice([0, 0, *SKEWS]))
        self.replicas[name].append(Replica(self, name, number, ahead))

    def doom(self, replica: Replica) -> None:
        replica.dead = True
        self.dying.append(replica)
        self.caused += 1

    async def bury(self) -> None:
        """End those that died, and start others in their place."""
        while self.dying:
            replica = self.dying.pop()
            await replica.close()
            self.replicas[replica.name].remove(replica)
            self.start(replica.name, replica.number)
            self.replicas[replica.name].sort(key=lambda one: one.number)

    async def end(self) -> None:
        for activity in self.under_way:
            activity.ending = True
            if activity.task is not None:
                activity.task.cancel()
        await asyncio.gather(*(one.task for one in self.under_way if one.task), return_exceptions=True)
        for replicas in self.replicas.values():
            for replica in replicas:
                replica.dead = False
                await replica.process.database.dispose()
                await replica.close()
        self.time.forget_databases()

    def replica_of(self, name: str, activity: Activity | None) -> Replica | None:
        living = [one for one in self.replicas[name] if not one.dead]
        if not living:
            return None
        return living[0] if activity is None else activity.chance.choice(living)

    # what happens

    async def happen(
        self, name: str, chance: random.Random, work: Callable[[], Coroutine[Any, Any, Any]], gates: int | None
    ) -> Activity:
        """Begin something; it is under way until `go_on` has brought it to its end."""
        activity = Activity(name, chance)
        if not self.calm and "database errors" in self.behaviours and chance.random() < 0.08:
            activity.trouble = trouble_of(chance)
        inside = self.inside
        if not self.calm and "open transactions" in self.behaviours and inside is None and chance.random() < 0.2:
            activity.commits_left = chance.randint(0, 3)
        if inside is not None:
            activity.until_blocked = self._until_blocked
        await activity.begin(work(), gates)
        if activity.done:
            await self._finish(activity)
        else:
            self.under_way.append(activity)
        return activity

    @property
    def inside(self) -> Activity | None:
        """What stopped in the middle of a transaction; one at a time."""
        return next((one for one in self.under_way if one.inside), None)

    async def _until_blocked(self) -> None:
        """Until one statement more than before waits for a lock."""
        before = sum(one.blocked for one in self.under_way)
        admin = await self.databases.connect()
        try:
            while await admin.fetchval(_WAITING, f"{self.worker}\\_%") <= before:
                await admin.execute("select pg_sleep(0.005)")
        finally:
            admin.terminate()

    async def go_on(self, activity: Activity, gates: int | None) -> None:
        """What waits for its locks goes on with it."""
        was_inside = activity.inside
        activity.until_blocked = self._until_blocked if self.inside not in {None, activity} else None
        await activity.go_on(0 if was_inside else gates)
        await self._look_after(activity)
        for blocked in [one for one in self.under_way if one.blocked] if was_inside else []:
            blocked.until_blocked = None
            await blocked.until_it_stops()
            await self._look_after(blocked)

    async def _look_after(self, activity: Activity) -> None:
        if activity.done:
            self.under_way.remove(activity)
            await self._finish(activity)

    async def _finish(self, activity: Activity) -> None:
        assert activity.task is not None
        self.caused += activity.troubled
        await self.bury()
        error = None if activity.task.cancelled() else activity.task.exception()
        if error is None or isinstance(error, Killed):
            return
        if isinstance(error, ENDINGS) and (activity.troubled or self.dying or self.losses or self.caused):
            return
        if activity.name.startswith("turn") and activity.troubled:
            return
        raise Violation(f"{activity.name} ended its loop: {error!r}") from error

    async def quietly(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Outside of all that happens, and undisturbed."""
        token, calm = current.set(None), self.calm
        self.calm = True
        try:
            return await work()
        finally:
            self.calm = calm
            current.reset(token)


def trouble_of(chance: random.Random) -> Trouble:
    state = chance.choice([None, None, "40001", "40P01", "53300", "57P01", "08006", "25006", "55P03", "57014", "XX000"])
    return Trouble(chance.randint(0, 12), state)


class _Hashing:
    """Passwords without the cost that keeps guessers away."""

    def __init__(self, **_: object) -> None:
        self.turn = Hashing.turn.__get__(self)
        self._room, self._turns = 1000, asyncio.Semaphore(1000)

    async def make(self, password: str) -> str:
        return f"plain {password}"

    async def matches(self, password_hash: str | None, password: str) -> bool:
        return password_hash == f"plain {password}"

    def is_outdated(self, _: str) -> bool:
        return False
