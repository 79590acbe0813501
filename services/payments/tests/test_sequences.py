"""Whatever happens, in whatever order: in the end our ledger is the provider's books, and nothing is stuck.

Random lives of an order, weighted towards what hurts: payments that are lost and revived, refunds that come back, facts
that overtake one another, callbacks that are lost, doubled or late, retries, disputes, sums of nothing and of another
currency, words nobody knows, and a process that dies at any moment. LIVES=500 draws so many instead.
"""

import os
import random
from collections import Counter
from contextlib import suppress
from uuid import UUID

import pytest
from sqlalchemy import select, text

from payments.adapters import flywire
from payments.jobs import (
    ask_about_payments,
    close_checkouts,
    expire_orders,
    find_payments,
    follow_refunds,
    return_underpaid,
    submit_refunds,
)
from payments.tables import Dispute, OrderLine, Payment, Refund
from shared.events.enrolment import ActivationRefused
from shared.messaging.tables import SetAside

JOBS = (
    close_checkouts,
    expire_orders,
    find_payments,
    ask_about_payments,
    submit_refunds,
    follow_refunds,
    return_underpaid,
)
PRICE = 49500
MOVES = {
    "initiated": {"processed": 3, "guaranteed": 3, "cancelled": 2, "failed": 1, "word": 1},
    "word": {"processed": 2, "guaranteed": 2, "cancelled": 1},
    "processed": {"guaranteed": 3, "delivered": 2, "cancelled": 3, "word": 1},
    "guaranteed": {"delivered": 4, "reversed": 2, "word": 1},
    "delivered": {"reversed": 2},
    "cancelled": {"initiated": 2, "processed": 3},  # documented: late money revives it
    "reversed": {},
    "failed": {},
}
"""What a payment may become at the provider, and how likely."""
REFUND_MOVES = {
    "initiated": {"received": 4, "cancelled": 2, "word": 1},
    "word": {"received": 2, "cancelled": 1},
    "received": {"finished": 4, "returned": 2},
    "finished": {"returned": 2},
    "returned": {"received": 4},
    "cancelled": {},
}
FUNDED = {"guaranteed", "delivered"}


class Died(BaseException):
    """The process was killed."""


class Life:
    """One order, and everybody who has to do with it."""

    def __init__(self, shop, monkeypatch, seed):
        self.shop, self.monkeypatch, self.chance = shop, monkeypatch, random.Random(seed)  # noqa: S311
        self.order = None
        self.heard = []
        self.did = []

    async def begin(self):
        lines = self.chance.choice([1, 2, 3])
        self.order = await self.shop.order(*[await self.shop.sell(PRICE) for _ in range(lines)])
        self.total = PRICE * lines
        # Most lives begin where it becomes interesting.
        opening = self.chance.choice(
            ["new", "underpaid", "paid", "bank", "delivered", "refunding", "refunding", "refunded"]
        )
        if opening != "new":
            amount = self.total - 500 if opening == "underpaid" else self.total
            body = {"first_name": "SANDBOX_TO_GUARANTEED_STATUS", "amount": amount}
            payment = await self.shop.pay(await self.shop.open_session(self.order), **body)
            self.shop.sandbox.payment(payment["payment_id"])["plan"] = []
            if opening == "bank":  # which takes the money before the provider has paid it out
                self.shop.clock.advance(seconds=1)
                await self.shop.status(payment["payment_id"], "guaranteed")
                await self.dispute()
                await self.dispute("lost")
            if opening not in {"underpaid", "paid", "bank"}:
                await self.shop.deliver(payment["payment_id"])
                await self.shop.refund(self.order, self.chance.randrange(lines))
            if opening in {"refunding", "refunded"}:
                await self.shop.run(submit_refunds)
                for _ in range(2 if opening == "refunded" else 0):
                    await self.shop.later(seconds=0.5)
        self.did.append(opening)
        await self.shop.control.put("/control/callbacks", json={"mode": "hold"})

    # the learner

    async def pay(self):
        answer = await self.shop.checkout(self.order, payer={"email": f"{self.chance.random()}@example.org"})
        if answer.status_code != 201:
            assert answer.status_code in {409, 503}, answer.text
            return
        amount = self.chance.choice([self.total] * 6 + [self.total + 500, self.total - 500, 100, 0])
        session_id = answer.json()["pay_url"].rpartition("/")[2]
        body = {"first_name": "SANDBOX_TO_CANCEL_STATUS", "amount": amount}
        payment = (await self.shop.control.post(f"/control/pay/{session_id}", json=body)).json()
        record = self.shop.sandbox.payment(payment["payment_id"])
        record["plan"] = []
        record["payment_method"] = {"type": self.chance.choice(["card", "card", "bank_transfer"])}
        if self.chance.random() < 0.08:
            record["currency_to"] = "EUR"

    async def leave(self):
        assert (await self.shop.cancel(self.order, key=str(self.chance.random()))).status_code in {200, 409}

    async def ask_back(self):
        line = self.chance.randrange(len(self.order["lines"]))
        assert (await self.shop.refund(self.order, line)).status_code in {201, 409}

    # the provider

    async def move_payment(self):
        payments = [one for one in self.shop.sandbox.books.all("payment") if self.moves_of(one, MOVES)]
        if payments:
            payment = self.chance.choice(payments)
            self.shop.clock.advance(seconds=self.chance.choice([0, 0, 1, 30]))
            self.shop.sandbox.set_status(payment, self.next_of(payment, MOVES))

    async def move_refund(self):
        refunds = [one for one in self.shop.sandbox.books.all("refund") if self.moves_of(one, REFUND_MOVES)]
        if refunds:
            refund = self.chance.choice(refunds)
            refund["plan"] = []
            self.shop.clock.advance(seconds=self.chance.choice([0, 0, 1, 30]))
            self.shop.sandbox.set_refund_status(refund, self.next_of(refund, REFUND_MOVES))

    def moves_of(self, record, moves):
        return moves.get(record["status"], moves["word"])

    def next_of(self, record, moves):
        options = self.moves_of(record, moves)
        chosen = self.chance.choices(list(options), list(options.values()))[0]
        return self.chance.choice(["charged", "on hold", "pending"]) if chosen == "word" else chosen

    async def deliver(self):
        """Some of what was told arrives, in any order, once or twice; some never does."""
        books = self.shop.sandbox.books
        held = list(books.all("delivery"))
        for one in held:
            books.remove("delivery", one["id"])
        for one in held:
            # The provider tells again what it gets no answer to; what undoes an end nobody would ask about.
            told = "reversed" in one["body"] or "returned" in one["body"]
            if told or self.chance.random() < 0.8:
                self.heard.append(one["body"].encode())
        self.chance.shuffle(self.heard)
        count = self.chance.randint(0, len(self.heard))
        now, self.heard = self.heard[:count], self.heard[count:]
        for body in now:
            for _ in range(self.chance.choice([1, 1, 2])):
                answer = await self.shop.callback(body)
                assert answer.status_code == 200, answer.text

    # those who work here

    async def retry(self):
        order = await self.shop.read(self.order)
        async with self.shop.service.client("finance") as finance:
            for refund in [line["refund"] for line in order["lines"]] + order["returned"]:
                if refund and self.chance.random() < 0.7:
                    path = f"/v1/orders/{self.order['order_id']}/refunds/{refund['refund_id']}/retry"
                    assert (await finance.post(path)).status_code in {200, 409}

    async def dispute(self, outcome=None):
        async with self.shop.service.client("finance") as finance:
            open_ = (await finance.get("/v1/disputes", params={"open": True})).json()["items"]
            mine = [one for one in open_ if one["order_id"] == self.order["order_id"]]
            if mine:
                outcome = outcome or self.chance.choice(["won", "lost", "withdrawn"])
                await finance.post(f"/v1/disputes/{mine[0]['dispute_id']}/closing", json={"outcome": outcome})
            else:
                wish = {"order_id": self.order["order_id"], "reason_code": "other", "case_reference": "CB-1"}
                assert (await finance.post("/v1/disputes", json=wish)).status_code in {201, 409}

    async def refuse_activation(self):
        order = await self.shop.read(self.order)
        if order["paid_at"] is None:
            return
        line = self.chance.choice(order["lines"])
        await self.shop.hear(
            ActivationRefused(
                order_id=UUID(order["order_id"]),
                order_line_id=UUID(line["order_line_id"]),
                course_id=UUID(line["course_id"]),
                learner_id=self.shop.learner_id,
                reason_code="already_enrolled",
                refused_at=self.shop.clock(),
            )
        )

    # time

    async def wait(self):
        pauses = {"seconds": 1}, {"minutes": 3}, {"hours": 2}, {"days": 3}
        [pause] = self.chance.choices(pauses, [4, 3, 2, 0.4])
        self.shop.clock.advance(**pause)

    async def work(self):
        """A job; while it asks the provider that goes on, or the process dies."""
        job, at, what = self.chance.choice(JOBS), self.chance.randint(1, 6), self.chance.choice("oooodg")

        def point(_):
            nonlocal at
            at -= 1
            if at == 0 and what == "d":
                raise Died

        with self.monkeypatch.context() as patch:
            patch.setattr(flywire, "crash_point", point)
            if what == "g":
                self.overtake(patch)
            with suppress(Died):
                await self.shop.run(job)

    def overtake(self, patch):
        """Answers travel slowly: what they tell of moves on meanwhile, and callbacks tell of that first."""
        for name in ("fetch_payment", "fetch_refund", "create_refund", "refunds_of"):
            patch.setattr(self.shop.provider, name, self.slowly(getattr(self.shop.provider, name)))

    def slowly(self, ask):
        async def answer(*arguments):
            said = await ask(*arguments)
            await self.chance.choice([self.move_refund, self.move_payment])()
            await self.deliver()
            return said

        return answer

    async def live(self, steps):
        weights = {
            self.pay: 4,
            self.leave: 0.4,
            self.ask_back: 3,
            self.move_payment: 10,
            self.move_refund: 9,
            self.deliver: 9,
            self.retry: 2,
            self.dispute: 0.7,
            self.refuse_activation: 0.7,
            self.wait: 4,
            self.work: 10,
        }
        for _ in range(steps):
            [step] = self.chance.choices(list(weights), list(weights.values()))
            self.did.append(step.__name__)
            await step()

    async def come_to_rest(self):
        """The provider ends what it began, and no more callback comes: our jobs find it all out."""
        await self.deliver()
        for body in self.heard:
            if b"reversed" in body or b"returned" in body:
                await self.shop.callback(body)
        await self.shop.control.put("/control/callbacks", json={"mode": "drop"})
        for delivery in list(self.shop.sandbox.books.all("delivery")):
            self.shop.sandbox.books.remove("delivery", delivery["id"])
        async with self.shop.service.client("finance") as finance:
            for one in (await finance.get("/v1/disputes", params={"open": True})).json()["items"]:
                await finance.post(f"/v1/disputes/{one['dispute_id']}/closing", json={"outcome": "won"})
        for _ in range(4):
            self.end_at_the_provider()
            for pause in ({"minutes": 5}, {"hours": 2}, {"hours": 2}, {"days": 2}, {"days": 9}):
                self.shop.clock.advance(**pause)
                await self.shop.run(*JOBS)
                self.end_at_the_provider()
            await self.retry()
        for _ in range(3):
            self.shop.clock.advance(days=2)
            await self.shop.run(*JOBS)
            self.end_at_the_provider()
        self.shop.clock.advance(days=2)
        await self.shop.run(*JOBS)

    def end_at_the_provider(self):
        sandbox = self.shop.sandbox
        for payment in sandbox.books.all("payment"):
            if payment["status"] in {"processed", "guaranteed", "charged", "on hold", "pending"}:
                sandbox.set_status(payment, "delivered")
            elif payment["status"] == "initiated":
                sandbox.set_status(payment, "cancelled")
        for refund in sandbox.books.all("refund"):
            refund["plan"] = []
            if refund["status"] == "returned":
                sandbox.set_refund_status(refund, "received")
            elif refund["status"] not in {"finished", "cancelled"}:
                sandbox.set_refund_status(refund, "finished")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("LIVES", "24"))))
async def test_in_the_end_our_ledger_is_the_providers_books(shop, monkeypatch, seed):
    life = Life(shop, monkeypatch, seed)
    await life.begin()
    await life.live(life.chance.randint(20, 70))
    await life.come_to_rest()
    session, books = shop.session, shop.sandbox.books

    # What stands with the provider is what stands in our cash, but for what banks took.
    wanted = Counter()
    taken = {
        str(one)
        for one in await session.scalars(
            select(Payment.reference)
            .join(Dispute, Dispute.payment_id == Payment.payment_id)
            .where(Dispute.outcome == "lost")
        )
    }
    for payment in books.all("payment"):
        if payment["status"] == "delivered" and payment["payment_id"] not in taken:
            wanted[payment["currency_to"]] += payment["amount_to"]
    for refund in books.all("refund"):
        if refund["status"] == "finished":
            wanted[refund["currency"]] -= refund["amount"]
    held = {
        (account, currency): amount
        for account, currency, amount in await session.execute(
            text(
                "select account, currency, sum(amount_minor)::bigint from ledger_entries join ledger_postings "
                "using (posting_no) group by account, currency having sum(amount_minor) <> 0"
            )
        )
    }
    assert {c: a for (account, c), a in held.items() if account == "cash"} == {c: a for c, a in wanted.items() if a}
    for account in ("provider_receivable", "refund_liability", "unapplied"):
        assert not {key: amount for key, amount in held.items() if key[0] == account}, (account, held)
    assert sum(held.values()) == 0
    assert held.get(("sales", "GBP"), 0) <= 0

    # Nothing goes back twice.
    refunds = {str(one.refund_id): one for one in await session.scalars(select(Refund))}
    paid_out = Counter()
    for refund in books.all("refund"):
        if refund["status"] == "finished":
            paid_out[refund["external_reference"]] += refund["amount"]
    for refund_id, amount in paid_out.items():
        assert amount <= refunds[refund_id].amount_minor
    prices = {one.order_line_id: one.due_minor for one in await session.scalars(select(OrderLine))}
    assert all(one.order_line_id is None or one.amount_minor <= prices[one.order_line_id] for one in refunds.values())

    # Nothing is stuck.
    assert (await session.scalars(select(SetAside.job))).all() == []
    stuck = {one.status for one in refunds.values()} - {"completed", "cancelled"}
    assert not stuck
    order = await shop.read(life.order)
    assert order["status"] in {"paid", "partly_refunded", "refunded", "expired", "cancelled", "reversed"}
    kept = -held.get(("sales", "GBP"), 0)
    assert kept == (
        sum(line["due"]["amount_minor"] for line in order["lines"] if not line["refund"])
        if order["status"] in {"paid", "partly_refunded"}
        else 0
    )
