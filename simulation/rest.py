"""Coming to rest: everything is delivered, jobs run until nothing changes, and time passes until nothing is due."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.jobs import JobFunction, Work
from simulation.activities import Activity
from simulation.people import Person
from simulation.replicas import Replica

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

MOST_ROUNDS: Final = 25
LONGEST: Final = 12
"""Rounds of two days, after which nothing may be due any more. Together they are shorter than inbox keys are kept."""
ONCE: Final = frozenset({
    "forget_old_records", "keep_event_log", "bring_due_times_forward", "forget_ended_sign_ins", "keep_signing_keys",
    "publish_windows", "watch_waiting_badges", "report_on_regulations", "sign_anew", "notify_partners_again",
    "forget_bodies", "keep_epoch",
})  # fmt: skip
"""Jobs that run once only, at the end."""


async def settle(platform: "SimulatedPlatform", *, jobs: bool = True) -> None:
    """Deliver everything and run jobs until nothing is on its way any more; time stands still meanwhile."""
    done: dict[tuple[str, str], int] = {}  # empty, since time may have passed and every job may have something to do
    for _ in range(MOST_ROUNDS):
        moved = await _send(platform)
        moved += await _deliver(platform)
        moved += await _retry(platform)
        if jobs:
            before = _outside(platform)
            await run_jobs(platform, done)
            moved += _outside(platform) != before
        if not moved:
            moved = await _send(platform)
        if not moved:
            return
    platform.violate("no rest", f"something is on its way after {MOST_ROUNDS} rounds")


def _outside(platform: "SimulatedPlatform") -> tuple[int, ...]:
    return (len(platform.post.emails), sum(map(len, platform.provider.history.values())), platform.network.carried)


async def _send(platform: "SimulatedPlatform") -> int:
    """Send committed events to the broker. Returns how many batches were sent."""
    moved = 0
    for replicas in platform.replicas.values():
        for replica in replicas:
            waiting = sum(map(len, platform.broker.queues.values()))
            await replica.pass_on()
            await replica.write_down()
            while await replica.do(replica.relay.send_batch):
                moved += 1
            moved += sum(map(len, platform.broker.queues.values())) != waiting
    return moved


async def _deliver(platform: "SimulatedPlatform") -> int:
    moved = 0
    for name, queue in platform.broker.queues.items():
        while queue:
            bodies, queue[:] = queue[:50], queue[50:]
            moved += 1
            replica = platform.replicas[name][0]
            await replica.do(_taking(replica, bodies))
    return moved


def _taking(replica: Replica, bodies: list[bytes]) -> Callable[[], Awaitable[None]]:
    return lambda: replica.process.receiver.take(bodies)


async def _retry(platform: "SimulatedPlatform") -> int:
    moved = 0
    for replicas in platform.replicas.values():
        replica = replicas[0]
        if not replica.process.service.inbox.types:
            continue
        while await replica.do(replica.process.receiver.retry_one):
            moved += 1
            if moved > 1000:
                platform.violate("no rest", "the same message is tried again and again")
                return 0
        while await replica.do(replica.email_sender.send_one):
            moved += 1
    return moved


async def run_jobs(
    platform: "SimulatedPlatform", done: dict[tuple[str, str], int], *, housekeeping: bool = False
) -> None:
    """Run each job unless its service has written nothing since it last began (`done`: the count of writes then)."""
    for service, (replica, *_) in platform.replicas.items():
        for name, job in replica.jobs.items():
            written = platform.written[service]
            if (name in ONCE and not housekeeping) or done.get((service, name)) == written:
                continue
            done[service, name] = written
            try:
                await replica.do(_doing(job, replica.work))
            except Exception as error:  # noqa: BLE001 - any at rest is a fault
                platform.violate("a job fails at rest", f"{replica.name}.{name}: {error!r}")


def _doing(job: JobFunction, work: Work) -> Callable[[], Awaitable[Any]]:
    return lambda: job(work)


async def catch_up(platform: "SimulatedPlatform") -> None:
    """Read from the feeds whatever the broker dropped."""
    for replicas in platform.replicas.values():
        replica = replicas[0]
        for source in replica.reconciler.feeds:
            await replica.do(_reading(replica, source))


def _reading(replica: Replica, source: str) -> Callable[[], Awaitable[int | None]]:
    return lambda: replica.reconciler.catch_up(source)


async def call_back(platform: "SimulatedPlatform", body: bytes) -> int:
    """Deliver one callback of the provider. Returns the status of the answer."""
    return await Person(platform, "provider").notify(body)


Step = Callable[["SimulatedPlatform"], Awaitable[None]]


async def come_to_rest(platform: "SimulatedPlatform", decide: Step, look: Step) -> None:
    """End everything under way, disturb nothing any more, and let time pass until nothing is due.

    `decide` is called again and again, `look` once, when all is delivered and no time has passed.
    """
    platform.calm = True
    platform.crash_at = None
    for activity in sorted(platform.under_way, key=lambda one: not one.inside):
        await _finish(platform, activity)
    await platform.bury()
    for replicas in platform.replicas.values():
        for replica in replicas:
            replica.ahead = timedelta()
    await platform.quietly(lambda: _rest(platform, decide, look))


async def _finish(platform: "SimulatedPlatform", activity: Activity) -> None:
    while not activity.done:
        await platform.go_on(activity, None)


async def _rest(platform: "SimulatedPlatform", decide: Step, look: Step) -> None:
    await catch_up(platform)
    first = platform.time.at
    for pause in (timedelta(minutes=11), timedelta(hours=3), timedelta(days=2), timedelta(days=16), timedelta(days=16)):
        for body in platform.provider.take():
            await call_back(platform, body)
        await settle(platform)
        if platform.time.at == first:
            await look(platform)
        await decide(platform)
        platform.provider.end()
        platform.time.advance(pause)
    quiet = rounds = 0
    while quiet < 2:
        before = _outside(platform)
        moved = platform.provider.end()
        for body in platform.provider.take():
            await call_back(platform, body)
        await settle(platform)
        await decide(platform)
        platform.time.advance(timedelta(days=2))
        quiet = quiet + 1 if not moved and _outside(platform) == before else 0
        rounds += 1
        if rounds == LONGEST:
            platform.violate("no rest", f"weeks pass, and still something moves: {before} {_outside(platform)} {moved}")
            return
    await run_jobs(platform, {}, housekeeping=True)
    await catch_up(platform)
    await settle(platform)
