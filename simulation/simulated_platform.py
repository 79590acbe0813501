"""One platform: replicas of every service, the network between them, and the troubles that its behaviours cause."""

import asyncio
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from weakref import WeakSet

import asyncpg
import fastapi.dependencies.models
import httpx
from obstore.store import MemoryStore
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

import gateway.app
import shared.driver
import shared.leases
import shared.messaging.outbox
import shared.service
from embedded import ports
from embedded.services import NAMES, SECRETS, Deployment
from gateway.adapters.hashing import Hashing
from shared import failpoints
from shared.driver import SideConnection
from shared.messaging.feed import FeedAway
from shared.messaging.reconciliation import FeedUnfinished
from shared.messaging.relay import TransportDown
from shared.outages import DATABASE_ERRORS
from simulation import instants
from simulation.activities import CUT, SILENT, UNANSWERED, Activity, Trouble, current
from simulation.databases import Databases
from simulation.network import Broker, Network, Post
from simulation.provider import Provider
from simulation.replicas import Killed, Replica, gated, here, recording

REPLICAS: Final = 2
OLDER: Final = "older release"
RELEASES: Final = (OLDER, "newer release")
"""The behaviours that give the first or second replica of each service another release, by the replica's number."""
_GOLDEN: Final = Path(__file__).parents[1] / "libs" / "shared" / "tests" / "golden"
SKEWS: Final = (-0.4, 0.9, -0.9, 0.6)
"""Seconds that a replica's clock, compared with the database's, may still be ahead (decision 28)."""
_SECRETS: Final[dict[str, str]] = dict.fromkeys(SECRETS, "c2ltdWxhdGVkLXNlY3JldC1vZi0zMi1ieXRlcy4uLi4=")
ENDINGS: Final = (*DATABASE_ERRORS, TransportDown, FeedAway)
"""Errors that a background loop of a process survives."""


_FOREVER: Final = 1e9
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


_WAITING: Final = "select pid from pg_stat_activity where datname like $1 and wait_event_type = 'Lock'"


IN_MEMORY: Final = WeakSet["SimulatedPlatform"]()
"""All platforms of this process that something still refers to."""


class Violation(AssertionError):
    """Something that must hold does not."""


class SimulatedPlatform:
    """The platform of one seed: its time and chance, databases, replicas, network, people, and what went wrong."""

    def __init__(self, databases: Databases, worker: str, seed: str, behaviours: frozenset[str] = frozenset()) -> None:
        IN_MEMORY.add(self)
        self.databases, self.worker, self.seed, self.behaviours = databases, worker, seed, behaviours
        self.chance = random.Random(seed)
        self.time = instants.SimulatedTime()
        self.deployment = Deployment(
            Path("/nowhere"), ports.assign({}), databases.urls(worker), secrets=_SECRETS, ample=True
        )
        self.files = {name: MemoryStore() for name in NAMES}
        self.post, self.broker = Post(), Broker(self)
        self.calm = True
        self.network = Network(self)
        self.replicas: dict[str, list[Replica]] = {name: [] for name in NAMES}
        self.consumers: dict[str, frozenset[str]] = {}
        self.dying: list[Replica] = []
        self.crash_at: tuple[str, int] | None = None
        """A failpoint ("any" for every one), and how often it is passed before the replica there is killed."""
        self.under_way: list[Activity] = []
        self.written: Counter[str] = Counter()
        """By service: how many of its statements changed rows."""
        self.changes = 0
        """How many requests of people may have changed something."""
        self.violations: list[str] = []
        self.answers: Counter[str] = Counter()
        """How often people got which answer, by operation, status and problem code."""
        self.caused = 0
        """How many statements were made to fail and replicas killed: after either a row may be set aside."""
        self.provider: Provider
        self.courses: list[dict[str, Any]] = []
        self.learners: list[Any] = []  # Any: simulation.learners.Learner
        self.staff: Any = None  # Any: simulation.staff.Staff
        self.partner: Any = None  # Any: simulation.partners.Partner
        self.programme = ""
        """The id of the programme into which credit may be transferred."""
        self.callbacks: list[bytes] = []
        """Bodies of callbacks on their way from the provider."""
        self.model: dict[str, dict[str, dict[str, Any]]] = {}
        """What answers have confirmed, by kind and id, with the values they gave."""

    # the troubles its behaviours cause

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

    def remember(self, kind: str, id_: str, **facts: Any) -> None:
        """Note that an answer has confirmed this: from now on it must be so, whatever happens."""
        self.model.setdefault(kind, {})[id_] = facts

    def answered(self, method: str, path: str, status: int, code: str) -> None:
        self.answers[f"{method} {_ID.sub('*', path)} {status} {code}".rstrip()] += 1

    def violate(self, what: str, details: object) -> None:
        self.violations.append(f"{what}: {details}")

    # its life

    @contextmanager
    def exists(self) -> Iterator[None]:
        """Patch this process while the block lasts, so that time, chance, network and failpoints are its own."""
        with ExitStack() as stack:
            stack.enter_context(instants.governing(self.time, self.chance))
            stack.enter_context(patch.object(httpx.AsyncClient, "_init_transport", self._transport_of))
            stack.enter_context(patch.object(asyncpg, "connect", recording(asyncpg.connect)))
            stack.enter_context(patch.object(SideConnection, "driver", gated(SideConnection.driver)))
            # No answer of the database counts as late: how long it takes depends on the machine, not the platform.
            stack.enter_context(patch.object(shared.driver, "ANSWER_SECONDS", _FOREVER))
            # Nor is a lease renewed: a job that stops for longer than its lease goes on beside another replica's.
            stack.enter_context(patch.object(shared.leases, "_renewed", lambda *_: nullcontext()))
            stack.enter_context(patch.object(PGDialect_asyncpg, "__eq__", lambda one, other: type(one) is type(other)))
            stack.enter_context(patch.object(PGDialect_asyncpg, "__hash__", lambda one: hash(type(one))))
            stack.enter_context(patch.object(shared.service, "_check_access", lambda *_: None))
            stack.enter_context(patch.object(shared.messaging.outbox, "envelope", _as_of_its_release))
            stack.enter_context(patch.object(gateway.app, "Hashing", _Hashing))
            stack.enter_context(patch.object(gateway.app, "common_passwords", frozenset))
            for name in NAMES:  # a module imported later would keep this platform's failpoint
                import_module(f"{name}.app")
            point = failpoints.failpoint
            for module in list(sys.modules.values()):
                if getattr(module, "failpoint", None) is point:
                    stack.enter_context(patch.object(module, "failpoint", self._pass))
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
        self.time.set_database_clocks(self.databases.clocks(self.worker))
        self.provider = Provider(self)
        for name in NAMES:
            for number in range(REPLICAS):
                self.start(name, number)
        self.consumers = {name: self.replicas[name][0].process.service.inbox.types for name in NAMES}
        history = self.replicas["payments"][0].reconciler.history
        await history.look()
        await history.note_compared()

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
        """Close the replicas that were killed, and start others in their stead."""
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
        _forget_apps()

    def replica_of(self, name: str, activity: Activity | None) -> Replica | None:
        living = [one for one in self.replicas[name] if not one.dead]
        if not living:
            return None
        return living[0] if activity is None else activity.chance.choice(living)

    # what happens

    async def happen(
        self, name: str, chance: random.Random, work: Callable[[], Coroutine[Any, Any, Any]], gates: int | None
    ) -> Activity:
        """Begin an activity; it is under way until `go_on` has brought it to its end."""
        activity = Activity(name, chance)
        if not self.calm and "database errors" in self.behaviours and chance.random() < 0.08:
            activity.trouble = trouble_of(chance)
        inside = self.inside
        if not self.calm and "open transactions" in self.behaviours and inside is None and chance.random() < 0.2:
            activity.commits_left = chance.randint(0, 3)
        if inside is not None:
            activity.until_blocked = partial(self._until_blocked, await self._waiting())
        await activity.begin(work(), gates)
        if activity.done:
            await self._finish(activity)
        else:
            self.under_way.append(activity)
        return activity

    @property
    def inside(self) -> Activity | None:
        """The activity that stopped in the middle of a transaction; there is one at most."""
        return next((one for one in self.under_way if one.inside), None)

    async def _waiting(self) -> set[int]:
        """Return the database sessions in which a statement waits for a lock.

        An activity that is blocked may not be among them: its waiting may have timed out meanwhile.
        """
        admin = await self.databases.connect()
        try:
            await admin.execute("select pg_sleep(0.005)")
            return {row["pid"] for row in await admin.fetch(_WAITING, f"{self.worker}\\_%")}
        finally:
            admin.terminate()

    async def _until_blocked(self, before: set[int]) -> None:
        """Wait until a statement waits for a lock that did not before."""
        while await self._waiting() <= before:
            pass

    async def go_on(self, activity: Activity, gates: int | None) -> None:
        """Let an activity go on to its next stop; activities that waited for its locks go on with it."""
        was_inside = activity.inside
        is_beside = self.inside not in {None, activity}
        activity.until_blocked = partial(self._until_blocked, await self._waiting()) if is_beside else None
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
        # The loop reads again: the platform's time went on while it stood at a gate.
        if isinstance(error, FeedAway | FeedUnfinished):
            return
        if isinstance(error, ENDINGS) and (activity.troubled or self.dying or self.losses or self.caused):
            return
        if activity.name.startswith("job ") and activity.troubled:
            return
        raise Violation(f"{activity.name} ended its loop: {error!r}") from error

    async def quietly(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do something outside of any activity, and undisturbed."""
        token, calm = current.set(None), self.calm
        self.calm = True
        try:
            return await work()
        finally:
            self.calm = calm
            current.reset(token)


def _forget_apps() -> None:
    """Empty FastAPI's caches, which keep the functions of thousands of routes, and with them each one's platform."""
    for cached in vars(fastapi.dependencies.models).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


_envelope = shared.messaging.outbox.envelope


def _as_of_its_release(*event: Any, **about: Any) -> str:  # Any: as the platform's own
    """Return an event's envelope as the release of the replica at work writes it.

    The first replica of each service may be of the release that first published the event, without the fields added
    since; the second of a later release than ours, whose events have further fields.
    """
    body, replica = _envelope(*event, **about), here.get()
    if replica is None or RELEASES[replica.number] not in replica.platform.behaviours:
        return body
    message = json.loads(body)
    if RELEASES[replica.number] == OLDER:
        first = _first_shape(message["type"])
        message["data"] = {name: value for name, value in message["data"].items() if name in first}
    else:
        message["data"]["added_by_a_later_release"] = {"a": [1]}
    return json.dumps(message)


@cache
def _first_shape(type_: str) -> frozenset[str]:
    """Return the fields that an event of this type had in its first release, from the golden body of it."""
    return frozenset(json.loads((_GOLDEN / f"{type_}.json").read_text()))


_TROUBLES: Final = (
    CUT, CUT, SILENT, SILENT, UNANSWERED, UNANSWERED,
    "40001", "40P01", "53300", "57P01", "08006", "25006", "55P03", "57014", "XX000",
)  # fmt: skip


def trouble_of(chance: random.Random) -> Trouble:
    how = chance.choice(_TROUBLES)
    return Trouble(chance.randint(0, 3 if how == UNANSWERED else 12), how)


class _Hashing:
    """Password hashing without its cost, which would be most of a life's."""

    def __init__(self, **_: object) -> None:
        self.slot = Hashing.slot.__get__(self)
        self._room, self._slots = 1000, asyncio.Semaphore(1000)

    async def make(self, password: str) -> str:
        return f"plain {password}"

    async def matches(self, password_hash: str | None, password: str) -> bool:
        return password_hash == f"plain {password}"

    def is_outdated(self, _: str) -> bool:
        return False
