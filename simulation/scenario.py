"""One life, always the same, in which every job of every service has something to do.

A `Meeting` decides how a job is run: by one replica, by two at once, or with something happening in its middle.
"""

import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

import obstore

import credentials
import shared.storage
from assessment.commands import releases
from credentials.exchange.adapters.webhooks import WebhookClient
from credentials.exchange.commands import webhooks
from credentials.exchange.domain.webhooks import Answer
from shared.storage import ObjectStorage, Stored
from simulation import base, instants, invariants, locks, rest
from simulation.activities import current
from simulation.databases import Databases
from simulation.learners import Learner
from simulation.looking import Look
from simulation.meetings import Meeting, count_writes, meeting_of
from simulation.outcome import state_of
from simulation.partners import Partner
from simulation.replicas import Replica, gate
from simulation.simulated_platform import SimulatedPlatform, Violation
from simulation.staff import Staff, at_the_end

JSON = dict[str, Any]  # Any: JSON
ROUNDS: Final = 4
"""How often each job runs, at most, after something happened: what one leaves, another goes on with."""
RARE: Final = rest.ONCE | {"remove_orphans", "claim_store"}
"""Jobs that have something to do only when time has passed."""
STORES: Final = {"enrolment": "name evidence", "assessment": "submissions", "credentials": "evidence"}
_REGULATIONS: Final = Path(credentials.__file__).parent / "regulations" / "mc-regs-2026.2.json"
_URL: Final = "http://127.0.0.1:9/hook"


class Scenario:
    """The scenario in one platform: what people do, one after the other, and the jobs after each of it."""

    def __init__(self, platform: SimulatedPlatform, meeting: Meeting) -> None:
        self.platform, self.meeting = platform, meeting
        self.worked: Counter[str] = Counter()
        """By service and job: how often it wrote something."""
        self.sent: list[str] = []
        """Bodies of webhooks."""
        self.stirred: set[str] = set()
        """Services to which something has happened since their jobs last had nothing to do."""
        for service, replicas in platform.replicas.items():
            for replica in replicas:
                self._listen(service, replica)

    @property
    def staff(self) -> Staff:
        return self.platform.staff

    def _listen(self, service: str, replica: Replica) -> None:
        app, take = replica.app, replica.process.receiver.take

        async def answer(scope: Any, receive: Any, send: Any) -> None:  # Any: ASGI
            if scope["method"] != "GET":
                self.stirred.add(service)
            await app(scope, receive, send)

        async def handle(bodies: Sequence[bytes]) -> Any:  # Any: as the receiver's
            self.stirred.add(service)
            return await take(bodies)

        replica.app = answer
        replica.process.receiver.take = handle

    async def happens(self, work: Callable[[], Awaitable[Any]]) -> Any:  # Any: whatever it gives
        """Do the work, deliver all events about it, and run the jobs. Returns what the work returns."""
        await self.meeting.before()
        came = await self.platform.quietly(work)
        await self._deliver()
        await self.meeting.after()
        await self._work()
        return came

    async def passes(self, **time: float) -> None:
        """Let time pass, then run all jobs, the rare ones too."""
        self.platform.time.advance(timedelta(**time))
        await self._deliver()
        await self._work(rare=True)

    async def _deliver(self) -> None:
        for body in self.platform.provider.take():
            await rest.call_back(self.platform, body)
        await rest.settle(self.platform, jobs=False)

    async def _work(self, *, rare: bool = False) -> None:
        if rare:
            self.stirred.update(self.platform.replicas)
        for number in range(ROUNDS):
            stirred, self.stirred = self.stirred, set()
            for service in [one for one in self.platform.replicas if one in stirred]:
                for job in self.platform.replicas[service][0].jobs:
                    if job not in RARE or (rare and number == 0):
                        await self._do(service, job)
            await self._deliver()
            if not self.stirred:
                return

    async def _do(self, service: str, job: str) -> None:
        if await self.meeting.do(service, job):
            self.worked[f"{service}.{job}"] += 1
            self.stirred.add(service)

    async def sql(self, service: str, statement: str) -> None:
        """Change rows of a service by SQL, as another release or a clock may have left them."""
        self.stirred.add(service)
        async with Look(self.platform) as look:
            await look.ask(service, statement)

    async def run(self) -> None:
        for learner in self.platform.learners[:3]:
            await learner.sign_in()
        ada, ben, cleo = self.platform.learners
        courses = [one["course_id"] for one in self.platform.courses]
        partner = self.platform.partner
        endpoint = {"url": _URL, "contact_email": "it@example.edu"}
        base.must(await partner.ask("POST", "/v1/webhook-endpoints", endpoint), "an endpoint")
        await self._buy_all(ada, ben, cleo, courses)
        await self._study(ada, ben)
        await self._hold_awards(ada, ben)
        await self._lose_money(ada)
        await self._change(ada)
        await self._grow_old()

    async def _buy(self, learner: Learner, courses: list[str], *, pay: int | None = 0, lost: bool = False) -> str:
        """Place an order and begin its checkout. Returns the order's id.

        `pay` is by how much the payment exceeds what is due, in minor units; None for no payment. `lost`: its callbacks
        never arrive.
        """

        async def buy() -> str:
            for course in courses:
                await learner.ask("PUT", f"/v1/basket/items/{course}")
            self.platform.time.advance(timedelta(seconds=40))
            order = base.must(await learner.ask("POST", "/v1/orders", {"course_ids": sorted(courses)}), "an order")
            learner.orders.append(order["order_id"])
            await learner.begin_checkout(order["order_id"], random.Random(len(learner.orders)))
            if pay is not None:
                session = self.platform.provider.sandbox.session(learner.sessions[-1])
                await self._pay(learner, session["amount"] + pay)
            if lost:
                self.platform.provider.take()
            return order["order_id"]

        return await self.happens(buy)

    async def _pay(self, learner: Learner, amount: int) -> JSON:
        payment = self.platform.provider.sandbox.pay(
            learner.sessions[-1], first_name="A", last_name="B", method="card", amount=amount
        )
        payment["plan"] = []
        return payment

    async def _provider(self, status: str, *, lost: bool = False, **chosen: str) -> None:
        """Give `status` to all payments or refunds of the chosen status; with `lost` the callbacks never arrive."""

        async def move() -> None:
            provider = self.platform.provider
            for payment in provider.payments:
                if payment["status"] == chosen.get("payments"):
                    provider.sandbox.set_status(payment, status)
            for refund in provider.refunds:
                refund["plan"] = []
                if refund["status"] == chosen.get("refunds"):
                    provider.sandbox.set_refund_status(refund, status)
            if lost:
                provider.take()

        await self.happens(move)

    async def _buy_all(self, ada: Learner, ben: Learner, cleo: Learner, courses: list[str]) -> None:
        await self.happens(lambda: ben.ask("PATCH", "/v1/learners/me", {"display_name": "Ben"}))
        await self._buy(ada, courses[:5])
        await self._provider("delivered", payments="processed")
        await self._buy(ben, courses[:4], lost=True)
        await self._buy(cleo, courses[:1], pay=None)
        await self.happens(lambda: cleo.begin_checkout(cleo.orders[-1], random.Random(99)))  # replaces the first one
        await self._buy(cleo, courses[1:2], pay=-5000)
        await self._buy_an_unknown_course(cleo, courses[5])
        await self._provider("delivered", payments="processed", lost=True)
        for minutes in (3, 6, 20, 70):
            await self.passes(minutes=minutes)
        await self.passes(days=1, hours=2)

    async def _buy_an_unknown_course(self, learner: Learner, course: str) -> None:
        """Buy a new version of a course whose events the broker does not deliver to enrolment."""
        consumers, editor = self.platform.consumers, self.staff["editor"]

        async def publish() -> None:
            base.must(await editor.ask("POST", f"/v1/courses/{course}/versions"), "a new version")
            base.must(await editor.ask("POST", f"/v1/courses/{course}/publication"), "its publication")

        without = frozenset(one for one in consumers["enrolment"] if "catalogue" not in one)
        with patch.dict(consumers, enrolment=without):
            await self.happens(publish)
        await self._buy(learner, [course])

    async def _study(self, *learners: Learner) -> None:
        for learner in learners:
            await self.happens(partial(self._submit, learner))
        await self.passes(days=6)  # windows close by their own time
        await self.happens(self._mark)
        examiner = self.staff["examiner"]
        [window] = {one["window_id"] for one in await examiner.items("/v1/windows", state="closed")}
        await self.happens(lambda: examiner.ask("POST", f"/v1/windows/{window}/release"))
        body = {"window_id": window, "minutes_reference": "EB-1"}
        await self.happens(lambda: self.staff["board"].ask("POST", "/v1/boards", body))

    async def _submit(self, learner: Learner) -> None:
        for enrolment in await learner.live_enrolments():
            path = f"/v1/assessments/{enrolment['enrolment_id']}/submission"
            base.must(await learner.ask("PUT", path, content=b"# Work\n", filename="p.md"), "a submission")

    async def _mark(self) -> None:
        for piece in await self.staff["marker"].items("/v1/marking-queue"):
            judgement = {"mark": "64", "feedback": "Good."}
            path = f"/v1/submissions/{piece['submission_id']}/marks"
            base.must(await self.staff["marker"].ask("POST", path, judgement), "a mark")

    async def _hold_awards(self, ada: Learner, ben: Learner) -> None:
        chance = random.Random(1)
        with self._one_cannot_be_notified():
            await self.happens(partial(self._transfer, ada))
        await self.passes(minutes=2)
        await self.happens(lambda: ada.claim(chance))
        await self.happens(lambda: self.staff.confer(chance))
        await self.happens(lambda: ben.claim(chance))  # which nobody confers
        await self.happens(lambda: self.staff.rename_subject(chance))
        await self.happens(self._lose_key)
        await self.happens(self._ask_for_report)
        await self.happens(lambda: self.sql("credentials", "update people set told_version = null"))
        await self.happens(lambda: self.sql("credentials", "update awards set looked_at = false"))

    async def _transfer(self, learner: Learner) -> None:
        credit, *_ = await learner.items("/v1/credits")
        body = {"programme_id": self.platform.programme, "credit_ids": [credit["credit_id"]]}
        base.must(await learner.ask("POST", "/v1/transfers", body), "a transfer")

    @contextmanager
    def _one_cannot_be_notified(self) -> Generator[None]:
        notify = webhooks.notify_partners

        async def fail(session: Any, event_id: Any, event: Any) -> None:  # Any: as notify_partners
            if type(event).__name__ == "TransferRequested":
                raise ZeroDivisionError("simulated")
            await notify(session, event_id, event)

        with patch.object(webhooks, "notify_partners", fail):
            yield

    async def _lose_key(self) -> None:
        operator = self.staff["operator"]
        keys = (await operator.ask("GET", "/v1/signing-keys")).body["items"]
        name = next(one["name"] for one in keys if one["state"] == "active")
        base.must(await operator.ask("PUT", f"/v1/signing-keys/{name}/compromise", {"reason": "Lost."}), "a lost key")

    async def _ask_for_report(self) -> None:
        document = json.loads(_REGULATIONS.read_text())
        body = {"document": {**document, "version": "mc-regs-2027.1", "effective_from": "2027-09-01T00:00:00+01:00"}}
        base.must(await self.staff["registrar"].ask("POST", "/v1/regulation-reports", body), "a report")

    async def _lose_money(self, ada: Learner) -> None:
        [payment, *_] = [one for one in self.platform.provider.payments if one["status"] == "delivered"]

        async def reverse() -> None:
            self.platform.provider.sandbox.set_status(payment, "reversed")

        await self.happens(reverse)
        await self.happens(lambda: ada.begin_checkout(ada.orders[0], random.Random(5)))
        for days in (15, 2):
            await self.passes(days=days)
        for now, then in (("initiated", "received"), ("received", "finished")):
            await self._provider(then, refunds=now, lost=then == "received")
            await self.passes(days=2)

    async def _change(self, ada: Learner) -> None:
        chance = random.Random(2)
        await self.happens(lambda: self.staff.revoke(chance))
        await self.happens(lambda: self.staff.decide_review(chance))
        await self.passes(days=40)  # no partner has decided on the transfer
        await self.happens(partial(self._anonymise, ada))

    async def _anonymise(self, learner: Learner) -> None:
        learner.asked_to_go = True
        path = f"/v1/learners/{learner.id}/anonymisation"
        base.must(await self.staff["registrar"].ask("PUT", path), "an erasure")
        self.platform.remember("erasures", learner.id, name=learner.name)

    async def _grow_old(self) -> None:
        for service, store in self.platform.files.items():
            await obstore.put_async(store, "left-over", service.encode())
        far = "insert into set_aside_rows (job, row_key, failures, first_failed_at, failed_at, due_at, last_error) "
        for service in self.platform.replicas:
            await self.sql(service, f"{far} select 'none', 'none', 1, now(), now(), now() + interval '90 days', ''")
        await self.passes(days=1)
        for service, store in STORES.items():
            aside = f"{far} select 'remove_orphans', '{store}', 1, now(), now(), now(), ''"
            await self.happens(partial(self.sql, service, aside))
            erased = f"{far} select 'check_files', 'erased since', 1, now(), now(), now(), ''"
            await self.happens(partial(self.sql, service, erased))
        course = f"{far} select 'renew_listing', min(course_id::text), 1, now(), now(), now(), '' from listings"
        await self.happens(partial(self.sql, "catalogue", course))
        nobody = f"""
            with past as (
                update regulation_reports set not_compared = not_compared + 1
                where report_id = (select report_id from regulation_reports order by report_id limit 1)
                returning report_id
            )
            {far} select 'compare_learner', report_id || ' {UUID(int=0)}', 1, now(), now(), now(), '' from past
        """
        await self.happens(partial(self.sql, "credentials", nobody))
        await self.passes(days=40)
        await self.passes(days=440)
        await self.sql("gateway", "delete from signing_keys")
        await self.passes(days=3)
        for service in self.platform.replicas:
            await self.sql(service, "delete from set_aside_rows where job = 'none'")


async def live(databases: Databases, worker: str, begun: JSON, meeting_name: str) -> JSON:
    """Live the scenario on fresh copies of the databases. `meeting_name` names the meeting by which jobs are run.

    Returns its violations and outcome, how often each job wrote something, and lock orders that may deadlock.
    """
    await databases.copy("base", worker)
    platform = SimulatedPlatform(databases, worker, "story")
    platform.time.restart(instants.BEGIN + timedelta(minutes=1))
    with platform.exists(), ExitStack() as stack:
        await platform.begin()
        platform.courses, platform.programme = begun["courses"], begun["partner"]["programme_id"]
        platform.partner = Partner(platform, begun["partner"])
        platform.learners = [Learner(platform, name) for name in base.LEARNERS]
        platform.staff = Staff(platform)
        meeting, orders = meeting_of(platform, meeting_name), locks.Orders()
        stack.enter_context(orders.naming_locks())
        scenario = Scenario(platform, meeting)
        stack.enter_context(patch.object(releases, "BATCH", 1))
        stack.enter_context(patch.object(WebhookClient, "post", partial(_post, scenario)))
        stack.enter_context(patch.object(shared.storage, "Stored", partial(_stored, platform)))
        for name in ("owner", "claim", "trash", "put_back", "delete"):
            stack.enter_context(patch.object(ObjectStorage, name, _gated(meeting, getattr(ObjectStorage, name))))
        for replica in (one for replicas in platform.replicas.values() for one in replicas):
            replica.jobs = replica.every_job
            count_writes(replica, meeting)
            for engine in (replica.process.database.web, replica.process.database.messaging):
                orders.listen(replica.name, engine)
        ended: dict[str, list[str]] = {}
        try:
            await scenario.run()
            ended = await state_of(platform, scenario.sent)
            await rest.come_to_rest(platform, at_the_end, invariants.check_at_once)
            if not platform.violations:
                await invariants.check(platform)
        except Violation as violation:
            platform.violations.append(str(violation))
        finally:
            await platform.end()
    jobs = sorted(f"{name}.{job}" for name, replicas in platform.replicas.items() for job in replicas[0].jobs)
    return {
        "violations": platform.violations,
        "jobs": jobs,
        "worked": dict(scenario.worked),
        "state": ended,
        "orders": orders.opposite(),
    }


async def _post(scenario: Scenario, _: str, __: Any, body: str) -> Answer:
    await gate("a webhook")
    scenario.sent.append(body)
    return Answer(200, "", None, 0)


def _stored(platform: SimulatedPlatform, key: str, _: object) -> Stored:
    """Return a stored file's entry with the platform's time in the place of the store's, which is the machine's."""
    return Stored(key, platform.time.began)


def _gated(meeting: Meeting, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:  # Any: as it is
    async def ask(*arguments: Any, **named: Any) -> Any:  # Any: as the method
        await gate("the file store")
        activity = current.get()
        if activity is not None and activity.name in meeting.wrote:
            meeting.wrote[activity.name] += method is not ObjectStorage.owner
        return await method(*arguments, **named)

    return ask
