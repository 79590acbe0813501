"""Coming to rest: everything is delivered, jobs run until nothing changes, and time passes until nothing is due."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.jobs import JobFunction, Work
from simulation.activities import Activity
from simulation.people import Person
from simulation.replicas import Replica

if TYPE_CHECKING:
    from simulation.world import World

MOST_ROUNDS: Final = 25
LONGEST: Final = 12
"""Rounds of two days, after which nothing may be due any more. Together they are shorter than inbox keys are kept."""
ONCE: Final = frozenset({
    "forget_old_records", "keep_event_log", "bring_due_times_forward", "forget_ended_sign_ins", "keep_signing_keys",
    "publish_windows", "watch_waiting_badges", "report_on_regulations", "sign_anew", "notify_partners_again",
    "forget_bodies", "keep_epoch",
})  # fmt: skip
"""Jobs that run once only, at the end."""


async def settle(world: "World", *, jobs: bool = True) -> None:
    """Deliver everything and run jobs until nothing is on its way any more; time stands still meanwhile."""
    done: dict[tuple[str, str], int] = {}  # empty, since time may have passed and every job may have something to do
    for _ in range(MOST_ROUNDS):
        moved = await _send(world)
        moved += await _deliver(world)
        moved += await _retry(world)
        if jobs:
            before = _outside(world)
            await run_jobs(world, done)
            moved += _outside(world) != before
        if not moved:
            moved = await _send(world)
        if not moved:
            return
    world.violate("no rest", f"something is on its way after {MOST_ROUNDS} rounds")


def _outside(world: "World") -> tuple[int, ...]:
    return (len(world.post.emails), sum(map(len, world.provider.history.values())), world.network.carried)


async def _send(world: "World") -> int:
    """Send committed events to the broker. Returns how many batches were sent."""
    moved = 0
    for replicas in world.replicas.values():
        for replica in replicas:
            waiting = sum(map(len, world.broker.queues.values()))
            await replica.pass_on()
            await replica.write_down()
            while await replica.do(replica.relay.send_batch):
                moved += 1
            moved += sum(map(len, world.broker.queues.values())) != waiting
    return moved


async def _deliver(world: "World") -> int:
    moved = 0
    for name, queue in world.broker.queues.items():
        while queue:
            bodies, queue[:] = queue[:50], queue[50:]
            moved += 1
            replica = world.replicas[name][0]
            await replica.do(_taking(replica, bodies))
    return moved


def _taking(replica: Replica, bodies: list[bytes]) -> Callable[[], Awaitable[None]]:
    return lambda: replica.process.receiver.take(bodies)


async def _retry(world: "World") -> int:
    moved = 0
    for replicas in world.replicas.values():
        replica = replicas[0]
        if not replica.process.service.inbox.types:
            continue
        while await replica.do(replica.process.receiver.retry_one):
            moved += 1
            if moved > 1000:
                world.violate("no rest", "the same message is tried again and again")
                return 0
        while await replica.do(replica.email_sender.send_one):
            moved += 1
    return moved


async def run_jobs(world: "World", done: dict[tuple[str, str], int], *, housekeeping: bool = False) -> None:
    """Run each job unless its service has written nothing since it last began (`done`: the count of writes then)."""
    for service, (replica, *_) in world.replicas.items():
        for name, job in replica.jobs.items():
            written = world.written[service]
            if (name in ONCE and not housekeeping) or done.get((service, name)) == written:
                continue
            done[service, name] = written
            try:
                await replica.do(_doing(job, replica.work))
            except Exception as error:  # noqa: BLE001 - any at rest is a fault
                world.violate("a job fails at rest", f"{replica.name}.{name}: {error!r}")


def _doing(job: JobFunction, work: Work) -> Callable[[], Awaitable[Any]]:
    return lambda: job(work)


async def catch_up(world: "World") -> None:
    """Read from the feeds whatever the broker dropped."""
    for replicas in world.replicas.values():
        replica = replicas[0]
        for source in replica.reconciler.feeds:
            await replica.do(_reading(replica, source))


def _reading(replica: Replica, source: str) -> Callable[[], Awaitable[int | None]]:
    return lambda: replica.reconciler.catch_up(source)


async def call_back(world: "World", body: bytes) -> int:
    """Deliver one callback of the provider. Returns the status of the answer."""
    return await Person(world, "provider").notify(body)


Step = Callable[["World"], Awaitable[None]]


async def come_to_rest(world: "World", decide: Step, look: Step) -> None:
    """End everything under way, disturb nothing any more, and let time pass until nothing is due.

    `decide` is called again and again, `look` once, when all is delivered and no time has passed.
    """
    world.calm = True
    world.crash_at = None
    for activity in sorted(world.under_way, key=lambda one: not one.inside):
        await _finish(world, activity)
    await world.bury()
    for replicas in world.replicas.values():
        for replica in replicas:
            replica.ahead = timedelta()
    await world.quietly(lambda: _rest(world, decide, look))


async def _finish(world: "World", activity: Activity) -> None:
    while not activity.done:
        await world.go_on(activity, None)


async def _rest(world: "World", decide: Step, look: Step) -> None:
    await catch_up(world)
    first = world.time.at
    for pause in (timedelta(minutes=11), timedelta(hours=3), timedelta(days=2), timedelta(days=16), timedelta(days=16)):
        for body in world.provider.take():
            await call_back(world, body)
        await settle(world)
        if world.time.at == first:
            await look(world)
        await decide(world)
        world.provider.end()
        world.time.advance(pause)
    quiet = rounds = 0
    while quiet < 2:
        before = _outside(world)
        moved = world.provider.end()
        for body in world.provider.take():
            await call_back(world, body)
        await settle(world)
        await decide(world)
        world.time.advance(timedelta(days=2))
        quiet = quiet + 1 if not moved and _outside(world) == before else 0
        rounds += 1
        if rounds == LONGEST:
            world.violate("no rest", f"weeks pass, and still something moves: {before} {_outside(world)} {moved}")
            return
    await run_jobs(world, {}, housekeeping=True)
    await catch_up(world)
    await settle(world)
