"""Random lives of an order, weighted towards what hurts: payments that are lost and revived, part payments, refunds that
come back, facts that overtake one another, copies of the provider that lag behind, callbacks that are lost, doubled or
late, retries, disputes, sums that change, words nobody knows, and a process that dies at any moment.

Each life leaves some of these out at random, so that what needs a quiet life is met too.
"""

import json
import random
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from payments import jobs
from payments.adapters import flywire
from payments.domain.refunds import RefundStatus
from payments.handlers import inbox
from payments.tables import ProviderRefund
from shared.events.enrolment import ActivationRefused
from shared.jobs import Work

from .bank import Bank
from .books import FUNDED, Violation, must
from .openings import Openings
from .provider import ANOTHER, MOVES, REFUND_MOVES, TILL, UNSAID, Provider

JOBS = (
    "close_checkouts",
    "expire_orders",
    "find_payments",
    "ask_about_payments",
    "submit_refunds",
    "follow_refunds",
    "return_underpaid",
)
MOST_TRANSACTIONS = 400
"""A job that needs more for the few rows of one order does not come to an end."""
TROUBLES = (
    "bank",
    "changed",
    "crash",
    "lag",
    "leave",
    "lost_callbacks",
    "narrow",
    "odd_sums",
    "overtake",
    "refuse",
    "return",
    "reverse",
    "sick",
    "word",
)
ODD_TROUBLES = ("future", "nulls", "odd_words", "others")
"""In some lives alone, drawn by themselves."""
OPENINGS = (
    "new",
    "underpaid",
    "parts",
    "paid",
    "bank",
    "declined",
    "revived",
    "delivered",
    "refunding",
    "refunding",
    "refunded",
    "refunded",
)


class Died(BaseException):
    """The process was killed."""


@dataclass(frozen=True, slots=True)
class Patient(Work):
    """Counts what a job does: one that never ends must not keep the test waiting."""

    left: list[int] = field(default_factory=lambda: [MOST_TRANSACTIONS])

    def now(self):
        self.left[0] -= 1
        must(self.left[0] > 0, "stuck: a job does not come to an end")
        return super(Patient, self).now()


class Life(Openings, Bank):
    """One order, and everybody who has to do with it."""

    at_rest = JOBS
    ended_lines: Collection[UUID] = frozenset()
    """Lines whose enrolment is known to have ended."""

    def __init__(self, driver, monkeypatch, seed):
        self.driver, self.monkeypatch, self.chance = driver, monkeypatch, random.Random(seed)  # noqa: S311
        self.troubles = {one for one in TROUBLES if self.chance.random() < 0.5}
        self.opening = self.chance.choice(OPENINGS)
        self.odd = random.Random(f"odd {seed}")  # noqa: S311
        if self.odd.random() < 0.3:
            self.troubles |= {one for one in ODD_TROUBLES if self.odd.random() < 0.6}
        self.order, self.total = None, 0
        self.callbacks: list[bytes] = []
        self.did: list[str] = []
        self.provider = Provider(driver, self.chance, self.odd, self.troubles)
        self.also = random.Random(f"also {seed}")  # noqa: S311
        """Draws what lives did not do at first, so that they stay what they were otherwise."""
        self.second = random.Random(f"second {seed}")  # noqa: S311
        """Draws when a bank decides a second time."""
        self.agreed: dict[str, int] = {}
        """Payment -> what it was when we used it, where it is another sum now."""
        self.taken: set[str] = set()
        """Payments that a bank took, and has not given back."""
        self.never_opened: set[UUID] = set()
        """Lines that enrolment refused."""
        self.calls: list[Any] = []
        self.narrow = "narrow" in self.troubles

    @classmethod
    def of(cls, seed):
        """How this life begins, and what troubles it."""
        life = cls(None, None, seed)
        return life.troubles | {life.opening}

    # the learner

    async def pay(self):
        if self.narrow:  # others are asked about in the background
            for _ in range(TILL):
                await self.driver.provider.list_payments(self.driver.clock(), 1)
        before = self.driver.clock()
        answer = await self.driver.checkout(self.order, payer={"email": f"{self.chance.random()}@example.org"})
        if self.narrow and answer.status_code == 201:
            self.calls = [at for at in self.calls if at > before - timedelta(minutes=1)]
            must(self.calls or self.driver.clock() == before, "a payer waits for what is asked in the background")
            self.calls.append(self.driver.clock())
        if answer.status_code != 201:
            assert answer.status_code in {409, 503}, answer.text
            return
        await self.check_asked(answer.json()["amount"]["amount_minor"])
        odd = [self.total + 500, self.total - 500, 100, 0] if "odd_sums" in self.troubles else []
        amount = self.chance.choice([answer.json()["amount"]["amount_minor"]] * 6 + odd)
        session_id = answer.json()["pay_url"].rpartition("/")[2]
        body = {"first_name": "SANDBOX_TO_CANCEL_STATUS", "amount": amount}
        payment = (await self.driver.control.post(f"/control/pay/{session_id}", json=body)).json()
        record = self.driver.sandbox.payment(payment["payment_id"])
        record["plan"] = []
        record["payment_method"] = {"type": self.chance.choice(["card", "card", "bank_transfer"])}
        if odd and self.chance.random() < 0.1:
            record["currency_to"] = "EUR"

    async def check_asked(self, amount_minor):
        """Look at what a pay page asks for."""

    async def leave(self):
        assert (await self.driver.cancel(self.order, key=str(self.chance.random()))).status_code in {200, 409}

    async def ask_back(self):
        line = self.chance.randrange(len(self.order["lines"]))
        assert (await self.driver.refund(self.order, line)).status_code in {201, 409}

    # the provider

    async def change_sum(self):
        """A payment that we have used is of another sum from now on; the next callback reports that."""
        shown = {one["reference"]: one for one in (await self.driver.read(self.order))["payments"]}
        for reference, one in shown.items():
            record = self.driver.sandbox.payment(reference)
            if one["use"] and record["status"] in FUNDED - {"delivered"} and reference not in self.agreed:
                self.agreed[reference] = one["amount"]["amount_minor"]
                record["amount_to"] += 700
                self.driver.clock.advance(seconds=1)
                self.driver.sandbox.set_status(record, "delivered")
                self.callbacks += [body for body in self.provider.take() if b'"delivered"' in body]
                return

    async def deliver(self):
        """Some of what was sent arrives, in any order, once or twice; some never does."""
        lost = 0.3 if "lost_callbacks" in self.troubles else 0.05
        self.callbacks += [
            body for body in self.provider.take() if self.is_reported_again(body) or self.chance.random() >= lost
        ]
        if self.chance.random() < (0.8 if "lag" in self.troubles else 0.5):  # the newest first
            self.callbacks.reverse()
        else:
            self.chance.shuffle(self.callbacks)
        count = self.chance.randint(0, len(self.callbacks))
        now, self.callbacks = self.callbacks[:count], self.callbacks[count:]
        for body in now:
            for _ in range(self.chance.choice([1, 1, 2])):
                await self.call_back(body)
        if "lag" in self.troubles:
            await self.run("ask_about_payments", "follow_refunds")

    def is_reported_again(self, body):
        return json.loads(body)["event_type"] in UNSAID or json.loads(body)["data"]["payment_id"] in self.agreed

    async def call_back(self, body):
        answer = await self.driver.callback(body)
        must(answer.status_code == 200, "a callback is not taken in", answer.text)

    async def fall_ill(self):
        """What the provider answers about one of its records cannot be read for a while."""
        references = [*self.provider.history]
        self.provider.sick = {self.chance.choice(references)} if references and not self.provider.sick else set()

    async def report_another(self):
        """Of a refund that is ours by its reference or its name, and of a payment that is not."""
        refunds = list(self.driver.sandbox.books.all("refund"))
        if refunds:
            refund = self.odd.choice(refunds)
            names = {"payment_id": ANOTHER, "refund_id": self.odd.choice([refund["refund_id"], "RF-another"])}
            await self.say("refunds", refund | names, self.odd.choice(["finished", "cancelled", "returned"]))

    async def report_the_future(self):
        """Anything of what we know, and what is true of what we do not."""
        known = {one["reference"] for one in (await self.driver.read(self.order))["payments"]}
        known |= set(await self.driver.session.scalars(select(ProviderRefund.provider_refund_id)))
        kind, moves = self.odd.choice([("payment", MOVES), ("refund", REFUND_MOVES)])
        records = list(self.driver.sandbox.books.all(kind))
        if records:
            record = self.odd.choice(records)
            words = [one for one in moves if one != "word"] if record[f"{kind}_id"] in known else [record["status"]]
            days = timedelta(days=self.odd.choice([1, 30, 400]))
            await self.say(f"{kind}s", record, self.odd.choice(words), self.driver.clock() + days)

    async def say(self, resource, record, status, at=None):
        data = {name: value for name, value in record.items() if name not in {"plan", "history"}} | {"status": status}
        date = (at or self.driver.clock()).isoformat()
        event = {"event_type": status, "event_date": date, "event_resource": resource, "data": data}
        await self.call_back(json.dumps(event).encode())

    # those who work here

    async def retry(self, statuses: Collection[str] = frozenset(RefundStatus), chance=0.7):
        order = await self.driver.read(self.order)
        async with self.driver.service.client("finance") as finance:
            for refund in [line["refund"] for line in order["lines"]] + order["returned"]:
                if refund and refund["status"] in statuses and self.chance.random() < chance:
                    path = f"/v1/orders/{self.order['order_id']}/refunds/{refund['refund_id']}/retry"
                    assert (await finance.post(path)).status_code in {200, 409}

    async def refuse_activation(self):
        order = await self.driver.read(self.order)
        if order["paid_at"] is None:
            return
        line = self.chance.choice(order["lines"])
        self.never_opened.add(UUID(line["order_line_id"]))
        refused = ActivationRefused(
            order_id=UUID(order["order_id"]),
            order_line_id=UUID(line["order_line_id"]),
            course_id=UUID(line["course_id"]),
            learner_id=self.driver.learner_id,
            reason_code="already_enrolled",
            refused_at=self.driver.clock(),
        )
        async with self.driver.service.process.database.transaction() as session:  # not the test's, which remembers
            await inbox.receive(session, refused)

    # time

    async def wait(self):
        pauses = {"seconds": 1}, {"minutes": 3}, {"hours": 2}, {"days": 3}
        [pause] = self.chance.choices(pauses, [4, 3, 2, 0.4])
        self.driver.clock.advance(**pause)

    async def work(self):
        """A job; while it asks the provider that goes on, or the process dies."""
        [job], at = self.chance.choices(JOBS, [1, 1, 1, 3, 5, 6, 1]), self.chance.randint(1, 6)
        what = self.chance.choice(["on", *sorted({"crash", "overtake"} & self.troubles)])
        if self.chance.random() < 0.5:  # until something is due
            self.driver.clock.advance(minutes=3)

        def point(_):
            nonlocal at
            at -= 1
            if at == 0 and what == "crash":
                raise Died

        with self.monkeypatch.context() as patch:
            patch.setattr(flywire, "failpoint", point)
            if what == "overtake":
                self.overtake(patch)
            await self.run(job)

    async def run(self, *names):
        for name in names:
            work = Patient(self.driver.service.process.database, self.driver.service.service.resources)
            try:
                with suppress(Died):
                    await getattr(jobs, name)(work)
            except Exception as error:
                if isinstance(error, Violation):
                    raise
                raise Violation(f"stuck: one row stops the job {name}: {error!r}") from error

    def overtake(self, patch):
        """Answers travel slowly: what they report moves on meanwhile, and callbacks report that first."""
        provider, twice = self.driver.provider, self.chance.random() < 0.5
        for name in ("fetch_payment", "fetch_refund", "create_refund", "refunds_of"):
            patch.setattr(provider, name, self.slowly(getattr(provider, name)))
        if "reverse" in self.troubles and self.also.random() < 0.3:
            patch.setattr(provider, "create_refund", self.too_late(provider.create_refund))
        elif twice:  # the second of two replicas is refused, when the first one's is known already
            patch.setattr(provider, "create_refund", self.late(provider.create_refund))

    def too_late(self, ask):
        """The money is taken back when its refund is as good as sent, which is refused for that."""

        async def answer(reference, amount, ours, still_ours):
            async def go_on():
                if not await still_ours():
                    return False
                record = self.driver.sandbox.payment(reference)
                self.driver.clock.advance(seconds=1)
                if record["status"] == "delivered":
                    self.driver.sandbox.set_status(record, "reversed")
                for body in self.provider.take() if self.also.random() < 0.7 else []:
                    await self.call_back(body)
                return True

            return await ask(reference, amount, ours, go_on)

        return answer

    def late(self, ask):
        async def answer(*arguments):
            await ask(*arguments)
            await self.provider.move_refund()
            for body in self.provider.take():
                await self.call_back(body)
            return await ask(*arguments)

        return answer

    def slowly(self, ask):
        async def answer(reference, *more):
            said = await ask(reference, *more)
            for _ in range(self.chance.choice([1, 2, 3])):
                await self.chance.choice(
                    [self.provider.move_refund, self.provider.move_refund, self.provider.move_payment]
                )()
            if self.chance.random() < 0.7:  # all that is under way, in its order
                for body in self.provider.take():
                    await self.call_back(body)
            else:
                await self.deliver()
            return said

        return answer

    def moves(self):
        """What may happen, and how likely."""
        return {
            self.pay: 4,
            self.leave: 0.4 * ("leave" in self.troubles),
            self.ask_back: 3,
            self.provider.move_payment: 8,
            self.provider.move_refund: 9,
            self.deliver: 9,
            self.retry: 2,
            self.dispute: 1.5 * ("bank" in self.troubles),
            self.refuse_activation: 1.5 * ("refuse" in self.troubles),
            self.change_sum: 2 * ("changed" in self.troubles),
            self.fall_ill: 2 * ("sick" in self.troubles),
            self.wait: 4,
            self.work: 12,
            self.report_another: 2 * ("others" in self.troubles),
            self.report_the_future: 2 * ("future" in self.troubles),
        }

    async def live(self):
        self.provider.method_left_out = "nulls" in self.troubles and self.also.random() < 0.6
        weights = self.moves()
        for _ in range(self.chance.randint(15, 40)):
            [step] = self.chance.choices(list(weights), list(weights.values()))
            self.did.append(step.__name__)
            await step()

    async def come_to_rest(self):
        """The provider ends what it began, and no more callback comes: our jobs find it all out."""
        self.did.append("rest")
        self.provider.sick, self.narrow = set(), False
        self.troubles -= {"lag", "narrow"}
        self.callbacks += [body for body in self.provider.take() if self.is_reported_again(body)]
        for body in self.callbacks:
            await self.call_back(body)
        await self.driver.control.put("/control/callbacks", json={"mode": "drop"})
        async with self.driver.service.client("finance") as finance:
            for one in (await finance.get("/v1/disputes", params={"open": True})).json()["items"]:
                outcome = self.also.choice(["won", "won", "lost"])
                await self.close_dispute(finance, one, outcome)
        quiet = 0
        for pause in ({"minutes": 5}, {"hours": 2}, {"days": 15}, *([{"days": 2}] * 16)):
            before = len(self.provider.history), sum(map(len, self.provider.history.values()))
            self.provider.end()
            if pause == {"days": 15} and self.second.random() < 0.5:
                await self.give_back()
            self.driver.clock.advance(**pause)
            await self.run(*self.at_rest)
            await self.decide()
            after = len(self.provider.history), sum(map(len, self.provider.history.values()))
            quiet = quiet + 1 if before == after and pause == {"days": 2} else 0
            if quiet == 2:
                break
        await self.run(*self.at_rest)

    async def decide(self):
        """All that finance has left to do."""
        await self.retry({"failed"}, 1)
