"""The life of one seed: its behaviours, its steps one after the other, and how it comes to rest.

Step n draws from a random source of its own, so that a step left out changes nothing in what the others draw.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from simulation import base, instants, invariants, rest
from simulation.activities import Activity, current
from simulation.databases import Databases
from simulation.learners import Learner, Newcomer
from simulation.partners import Partner
from simulation.replicas import Replica
from simulation.simulated_platform import ENDINGS, SKEWS, SimulatedPlatform, Violation
from simulation.staff import Staff, at_the_end

BEHAVIOURS: Final = (
    "lost answers",
    "dropped events",
    "doubled events",
    "disorder",
    "skew",
    "crashes",
    "interleaving",
    "open transactions",
    "database errors",
    "odd sums",
    "odd words",
    "losses",
    "returns",
    "garbled answers",
    "lost callbacks",
    "refunds",
    "renames",
    "shares",
    "misconduct",
    "revocations",
    "fails",
    "disputes",
    "catalogue changes",
    "erasure",
    "newcomer",
    "transfers",
    "long pauses",
    "history twice",
    "jobs at once",
    "changed sums",
    "newer release",
    "older release",
    "late effects",
    "refunds by hand",
)
STEPS: Final = 160
FASTEST: Final = timedelta(milliseconds=250)
BUSY: Final = frozenset({
    "ask_about_payments", "find_payments", "submit_refunds", "follow_refunds", "close_checkouts", "sign_badges",
    "read_people", "release_results", "ratify_results", "publish_status_lists", "queue_emails", "settle_waiting_lines",
})  # fmt: skip
"""Jobs that are run more often, because they have most to do."""


@dataclass
class Plan:
    """A seed's life: its behaviours and steps, without those left out to find the least life that fails."""

    seed: int
    without: frozenset[str] = frozenset()
    dropped: frozenset[int] = frozenset()
    steps: int = STEPS
    answers: Counter[str] = field(default_factory=Counter[str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """The process's CPU time at the end of each part of the life."""
    did: list[str] = field(default_factory=list[str])
    """What happened, one line for each step."""

    @property
    def behaviours(self) -> frozenset[str]:
        chance = random.Random(f"{self.seed} behaviours")
        return frozenset(one for one in BEHAVIOURS if chance.random() < 0.55) - self.without


class Life:
    """The life of a plan in a platform: an opening, random steps, rest, and the invariants."""

    def __init__(self, plan: Plan, platform: SimulatedPlatform) -> None:
        self.plan, self.platform = plan, platform

    async def live(self) -> None:
        platform = self.platform
        self._note("start")
        await self._open(random.Random(f"{self.plan.seed} opening"))
        self._note("opening")
        platform.calm = False
        for number in range(self.plan.steps):
            if number not in self.plan.dropped:
                await self._step(number)
            if platform.violations:
                return
        self._note("steps")
        await rest.come_to_rest(platform, at_the_end, invariants.check_at_once)
        self._note("rest")
        if not platform.violations:
            await invariants.check(platform)
        self._note("invariants")

    def _note(self, part: str) -> None:
        self.plan.seconds[part] = time.process_time()

    async def _open(self, chance: random.Random) -> None:
        """Begin the life; most begin where it becomes interesting: with courses bought or passed, or an award."""
        platform = self.platform
        learner = platform.learners[0]
        how = chance.choice(
            ["nothing", "bought", "bought", "submitted", "passed", "passed", "passed", "conferred", "conferred"]
        )
        self.plan.did.append(f"opening: {how}")
        for other in platform.learners:
            await other.sign_in()
        if how == "nothing":
            return
        await platform.quietly(lambda: open_with(platform, learner, how, chance))

    async def _step(self, number: int) -> None:
        chance = random.Random(f"{self.plan.seed} step {number}")
        kinds: dict[Callable[[random.Random], Coroutine[Any, Any, str]], float] = {
            self._learner: 20,
            self._staff: 15,
            self._partner: 3 * ("transfers" in self.platform.behaviours),
            self._go_on: 18 * bool({"interleaving", "open transactions"} & self.platform.behaviours),
            self._relay: 14,
            self._deliver: 16,
            self._retry: 4,
            self._job: 16,
            self._reconcile: 2,
            self._post: 1.5,
            self._provider: 12,
            self._call_back: 12,
            self._wait: 9,
            self._crash: 3 * ("crashes" in self.platform.behaviours),
            self._step_clock: 1 * ("skew" in self.platform.behaviours),
        }
        self.platform.time.advance(FASTEST)
        deed_done = ""
        while not deed_done:
            [kind] = chance.choices(list(kinds), list(kinds.values()))
            deed_done = await kind(chance)
        self.plan.did.append(f"{number}: {deed_done}")

    def _gates(self, chance: random.Random) -> int | None:
        if "interleaving" not in self.platform.behaviours or chance.random() < 0.55:
            return None
        return chance.randint(0, 9)

    async def _begin(self, name: str, chance: random.Random, work: Callable[[], Coroutine[Any, Any, Any]]) -> str:
        gates = self._gates(chance)
        if len(self.platform.under_way) >= 4:
            gates = None
        activity = await self.platform.happen(name, chance, work, gates)
        return name if activity.done else f"{name} ({_where(activity)})"

    async def _learner(self, chance: random.Random) -> str:
        learner: Learner = chance.choices(self.platform.learners, [6, *[2] * (len(self.platform.learners) - 1)])[0]
        return await self._some_deed(learner.name, learner.deeds(), chance)

    async def _staff(self, chance: random.Random) -> str:
        return await self._some_deed("staff", self.platform.staff.deeds(), chance)

    async def _partner(self, chance: random.Random) -> str:
        return await self._some_deed("partner", self.platform.partner.deeds(), chance)

    async def _some_deed(
        self, who: str, deeds: dict[Callable[[random.Random], Coroutine[Any, Any, None]], float], chance: random.Random
    ) -> str:
        """Begin one of the deeds, preferring one that is possible at the moment: up to four are tried."""
        deed_done = ""
        for _ in range(4):
            before = self.platform.changes
            [deed] = chance.choices(list(deeds), list(deeds.values()))
            deed_done = await self._begin(f"{who} {deed.__name__}", chance, partial(deed, chance))
            if self.platform.changes != before or deed_done.endswith(")"):
                break
        return deed_done

    async def _go_on(self, chance: random.Random) -> str:
        able = [one for one in self.platform.under_way if not one.blocked]
        if not able:
            return ""
        activity = chance.choice(able)
        was = activity.at
        await self.platform.go_on(activity, None if chance.random() < 0.5 else chance.randint(0, 5))
        return f"{activity.name} goes on from {was}" + ("" if activity.done else f" ({_where(activity)})")

    def _replicas(self) -> list[Replica]:
        return [one for replicas in self.platform.replicas.values() for one in replicas]

    def _replica(self, chance: random.Random, name: str | None = None) -> Replica:
        name = name or chance.choice(list(self.platform.replicas))
        return chance.choice(self.platform.replicas[name])

    async def _relay(self, chance: random.Random) -> str:
        waiting = [one for one in self._replicas() if one.relay._handed or one.relay._wake.is_set()]
        if not waiting:
            return ""
        replica = chance.choice(waiting)

        async def relay() -> None:
            await replica.pass_on()
            await replica.write_down()
            await replica.do(replica.relay.send_batch)

        return await self._begin(f"relay {replica}", chance, relay)

    async def _deliver(self, chance: random.Random) -> str:
        waiting = [name for name, queue in self.platform.broker.queues.items() if queue]
        if not waiting:
            return ""
        name = chance.choice(waiting)
        replica, most = self._replica(chance, name), chance.choice([1, 3, 10, 40])

        async def deliver() -> None:
            activity = current_activity()
            bodies = self.platform.broker.take(name, activity, most)
            try:
                await replica.do(lambda: replica.process.receiver.take(bodies))
            except BaseException:
                self.platform.broker.put_back(name, bodies)
                raise

        return await self._begin(f"delivery to {replica}", chance, deliver)

    async def _retry(self, chance: random.Random) -> str:
        replica = self._replica(chance)

        async def retry() -> None:
            while await replica.do(replica.process.receiver.retry_one):
                pass

        return await self._begin(f"retries of {replica}", chance, retry)

    async def _job(self, chance: random.Random) -> str:
        replica = self._replica(chance, chance.choices(list(self.platform.replicas), [0.3, 1.5, 2, 4, 5, 0.2])[0])
        jobs = list(replica.jobs)
        if not jobs:
            return ""
        [job] = chance.choices(jobs, [5 if one in BUSY else 0.6 for one in jobs])
        alone = "jobs at once" not in self.platform.behaviours or chance.random() < 0.6

        async def run() -> None:
            try:
                await replica.run_job(job, alone=alone)
            except Exception as error:
                if not (self.platform.caused or self.platform.losses or isinstance(error, ENDINGS)):
                    raise

        return await self._begin(f"job {job} on {replica}{'' if alone else ', whoever has it'}", chance, run)

    async def _reconcile(self, chance: random.Random) -> str:
        replica = self._replica(chance)
        source = chance.choice(list(replica.reconciler.feeds))
        return await self._begin(f"{replica} reads {source}", chance, lambda: replica.read(source))

    async def _post(self, chance: random.Random) -> str:
        replica = self._replica(chance)

        async def post() -> None:
            while await replica.do(replica.email_sender.send_one):
                pass

        return await self._begin(f"post of {replica}", chance, post)

    async def _provider(self, chance: random.Random) -> str:
        return self.platform.provider.move(chance) or ""

    async def _call_back(self, chance: random.Random) -> str:
        """Deliver one of the provider's callbacks, in any order, once or twice; some are lost."""
        platform = self.platform
        platform.callbacks += platform.provider.take()
        if not platform.callbacks:
            return ""
        at = chance.randrange(len(platform.callbacks)) if chance.random() < 0.4 else 0
        body = platform.callbacks[at]
        if chance.random() < 0.8:
            del platform.callbacks[at]
        if "lost callbacks" in platform.behaviours and chance.random() < 0.4 and b'"reversed"' not in body:
            return "a callback is lost"
        person = base.Person(platform, "provider")

        async def arrive() -> None:
            answer = await person.notify(body)
            if answer >= 500 or answer == 0:
                platform.callbacks.append(body)

        return await self._begin(f"callback {body[:40].decode()}", chance, arrive)

    async def _wait(self, chance: random.Random) -> str:
        pauses = {"seconds": 1}, {"seconds": 40}, {"minutes": 4}, {"hours": 2}, {"days": 1}, {"days": 15}
        long = "long pauses" in self.platform.behaviours
        [pause] = chance.choices(pauses, [5, 4, 4, 2, 1.0 * long, 0.3 * long])
        self.platform.time.advance(timedelta(**pause))
        return f"wait {pause}"

    async def _crash(self, chance: random.Random) -> str:
        if chance.random() < 0.5:
            self.platform.crash_at = ("any", chance.randint(0, 12))
            return "somebody will crash"
        replica = self._replica(chance)
        self.platform.doom(replica)
        if not any(activity.holding or activity.blocked for activity in self.platform.under_way):
            await self.platform.bury()
        return f"{replica} crashes"

    async def _step_clock(self, chance: random.Random) -> str:
        replica = self._replica(chance)
        replica.ahead = timedelta(seconds=chance.choice([0, *SKEWS]))
        return f"clock of {replica} {replica.ahead.total_seconds():+.1f} s"


def _where(activity: Activity) -> str:
    return "waits for a lock" if activity.blocked else f"stopped at {activity.at}"


def current_activity() -> Activity:
    activity = current.get()
    assert activity is not None, "part of an activity"
    return activity


async def open_with(platform: SimulatedPlatform, learner: Learner, how: str, chance: random.Random) -> None:
    """Let the learner, undisturbed, buy some courses and, by `how`, hand in work, pass, and be awarded for them."""
    staff, count = platform.staff, chance.choice([4, 4, 5, 9])
    for course in platform.courses[:count]:
        await learner.ask("PUT", f"/v1/basket/items/{course['course_id']}")
    platform.time.advance(timedelta(seconds=40))
    ids = sorted(course["course_id"] for course in platform.courses[:count])
    order = base.must(await learner.ask("POST", "/v1/orders", {"course_ids": ids}), "an order")
    learner.orders.append(order["order_id"])
    await learner.begin_checkout(order["order_id"], chance)
    payment = platform.provider.sandbox.pay(learner.sessions[-1], first_name="A", last_name="B", method="card")
    payment["plan"] = []
    if chance.random() < 0.5:
        platform.provider.sandbox.set_status(payment, "delivered")
    for body in platform.provider.take():
        await base.Person(platform, "provider").notify(body)
    await rest.settle(platform)
    if how == "bought":
        return
    await staff.open_window(chance)
    platform.time.advance(timedelta(seconds=40))
    for enrolment in await learner.live_enrolments():
        path = f"/v1/assessments/{enrolment['enrolment_id']}/submission"
        base.must(await learner.ask("PUT", path, content=b"# Work\n", filename="p.md"), "a submission")
    if how == "submitted":
        return
    examiner = staff["examiner"]
    windows = [one for one in await examiner.items("/v1/windows", state="open") if one["period"] is None]
    window = windows[0]["window_id"] if windows else (await examiner.items("/v1/windows", state="open"))[0]["window_id"]
    for one in await examiner.items("/v1/windows", state="open"):
        await examiner.ask("POST", f"/v1/windows/{one['window_id']}/closing")
    for piece in await staff["marker"].items("/v1/marking-queue"):
        judgement = {"mark": str(chance.choice([55, 64, 71])), "feedback": "Good."}
        await staff["marker"].ask("POST", f"/v1/submissions/{piece['submission_id']}/marks", judgement)
    for closed in await examiner.items("/v1/windows", state="closed"):
        await examiner.ask("POST", f"/v1/windows/{closed['window_id']}/release")
    await rest.settle(platform)
    for closed in await examiner.items("/v1/windows", state="closed"):
        sent = {"window_id": closed["window_id"], "minutes_reference": "EB-0"}
        await staff["board"].ask("POST", "/v1/boards", sent)
    await rest.settle(platform)
    if how == "conferred":
        await learner.claim(chance)
        await staff.confer(chance)
        await rest.settle(platform)
    _ = window


async def live(databases: Databases, worker: str, plan: Plan, begun: dict[str, Any]) -> list[str]:
    """Live one life on fresh copies of the databases until it is at rest. Returns its violations."""
    await databases.copy("base", worker)
    platform = SimulatedPlatform(databases, worker, f"{plan.seed}", plan.behaviours)
    platform.time.restart(instants.BEGIN + timedelta(minutes=1))
    with platform.exists():
        await platform.begin()
        platform.courses = begun["courses"]
        platform.programme = begun["partner"]["programme_id"]
        platform.partner = Partner(platform, begun["partner"])
        platform.learners = [Learner(platform, name) for name in base.LEARNERS]
        if "newcomer" in plan.behaviours:
            platform.learners.append(Newcomer(platform, "dora"))
        platform.staff = Staff(platform)
        try:
            await Life(plan, platform).live()
        except Violation as violation:
            platform.violations.append(str(violation))
        finally:
            await platform.end()
    plan.answers = platform.answers
    return platform.violations
