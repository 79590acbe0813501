"""Lives in which people decide more: finance gives courses back, pays back by hand at the provider and says afterwards
what that paid; and enrolments end, in whatever order that is heard of."""

from contextlib import suppress
from uuid import UUID

from sqlalchemy import select

from embedded.provider.shapes import NotPossible
from payments.handlers import inbox
from payments.queries.payments import confirming_payment
from payments.tables import OrderLine, Payment, Refund
from shared.events.assessment import AttemptsExhausted
from shared.events.enrolment import EnrolmentActivated, EnrolmentCancelled, EnrolmentFailed
from shared.ids import id_of

from .books import must
from .life import JOBS, Life
from .provider import ByHand

OTHERS = frozenset({"changed", "future", "nulls", "odd_words", "others"})
"""Troubles that other lives have."""
ENDS = ("withdrawn", "failed", "exhausted")
FRESH = {"populate_existing": True}


class Decided(Life):
    """Beside what happens anyway."""

    at_rest = (*JOBS, "compare_with_provider")

    def __init__(self, driver, monkeypatch, seed):
        super().__init__(driver, monkeypatch, seed)
        self.troubles -= OTHERS
        self.troubles |= {one for one in ("grants", "by_hand", "ends") if self.odd.random() < 0.7}
        self.begun: set[UUID] = set()
        self.ended: set[UUID] = set()

    async def begin(self):
        await super().begin()
        for line in self.order["lines"]:
            if self.odd.random() < 0.6:
                await self.open_line(line)
        if "grants" in self.troubles and self.opening == "bank":  # so that it may come back
            await self.grant()
        if "by_hand" in self.troubles:
            await self.pay_back_by_hand()

    @property
    def ended_lines(self):
        """Lines whose enrolment is known to have ended."""
        return self.begun & self.ended

    def moves(self):
        return super().moves() | {
            self.open_course: 2,
            self.end_course: 1.5 * ("ends" in self.troubles),
            self.grant: 2 * ("grants" in self.troubles),
            self.pay_back_by_hand: 2 * ("by_hand" in self.troubles),
            self.explain: 2 * ("by_hand" in self.troubles),
            self.compare: 0.5,
        }

    async def compare(self):
        await self.run("compare_with_provider")

    # the learner

    async def check_asked(self, amount_minor):
        order = await self.driver.read(self.order)
        if order["status"] != "reversed":
            return
        lines = [one for one in order["lines"] if not one["refund"]]
        due = sum(one["due"]["amount_minor"] for one in lines if UUID(one["order_line_id"]) not in self.ended_lines)
        must(amount_minor == due, "asked to pay again for what has ended", amount_minor, due)

    # enrolment

    def about(self, line):
        """The enrolment of a line of the order, as its events name it."""
        return {
            "enrolment_id": id_of("enrolment", UUID(line["order_line_id"])),
            "learner_id": self.driver.learner_id,
            "course_id": UUID(line["course_id"]),
        }

    async def line_that_may_be_open(self):
        """A line of an order that was paid, which enrolment has not refused."""
        order = await self.driver.read(self.order)
        lines = [one for one in order["lines"] if UUID(one["order_line_id"]) not in self.never_opened]
        return self.odd.choice(lines) if lines and order["paid_at"] else None

    async def open_course(self):
        if line := await self.line_that_may_be_open():
            await self.open_line(line)

    async def open_line(self, line):
        if (await self.driver.read(self.order))["paid_at"] is None:
            return
        self.begun.add(UUID(line["order_line_id"]))
        await self.hear(
            EnrolmentActivated(
                **self.about(line),
                course_version_id=UUID(line["course_version_id"]),
                order_id=UUID(self.order["order_id"]),
                order_line_id=UUID(line["order_line_id"]),
                regulations_version="mc-regs-2026.2",
                activated_at=self.driver.clock(),
            )
        )

    async def end_course(self):
        """Also one of whose beginning is heard later, and one that had ended otherwise."""
        line = await self.line_that_may_be_open()
        if line is None:
            return
        self.ended.add(UUID(line["order_line_id"]))
        about, at = self.about(line), self.driver.clock()
        match self.odd.choice(ENDS):
            case "withdrawn":
                event = EnrolmentCancelled(**about, reason_code="withdrawn", sequence=2, cancelled_at=at)
            case "failed":
                event = EnrolmentFailed(**about, sequence=2, failed_at=at)
            case _:
                event = AttemptsExhausted(**about, attempts_used=3, exhausted_at=at)
        await self.hear(event)

    async def hear(self, event):
        async with self.driver.service.process.database.transaction() as session:
            await inbox.receive(session, event)

    # finance

    async def grant(self):
        await self.grant_line(UUID(self.odd.choice(self.order["lines"])["order_line_id"]))

    async def grant_line(self, line_id):
        """The id of the refund; None where it is not granted."""
        path = f"/v1/orders/{self.order['order_id']}/lines/{line_id}/granted-refund"
        async with self.driver.service.client("finance") as finance:
            answer = await finance.post(path, json={"reason_code": self.odd.choice(["goodwill", "complaint"])})
        assert answer.status_code in {201, 409}, answer.text
        return UUID(answer.json()["refund_id"]) if answer.status_code == 201 else None

    async def pay_back_by_hand(self):
        """In the provider's dashboard: what is owed and not under way, or a line that nobody has asked back."""
        owed = await self.owed()
        if not owed:
            return
        reference, amount, by_hand = self.odd.choice(owed)
        with suppress(NotPossible):
            made = self.provider.create_by_hand(reference, amount, "", "http://service/v1/payment-notifications")
            made["plan"] = []
            self.provider.by_hand[made["refund_id"]] = by_hand

    async def owed(self):
        session, books, found = self.driver.session, self.driver.sandbox.books, []
        made = {one["external_reference"] for one in books.all("refund") if one["status"] != "cancelled"}
        refunds = (await session.scalars(select(Refund).execution_options(**FRESH))).all()
        paying = await confirming_payment(session, UUID(self.order["order_id"]))
        lines = (await session.scalars(select(OrderLine).execution_options(**FRESH))).all()
        by_hand = {(one.payment_id, one.line_id) for one in self.provider.by_hand.values()}
        for payment in await session.scalars(select(Payment).execution_options(**FRESH)):
            if (books.get("payment", payment.reference) or {})["status"] != "delivered":
                continue
            own = [one for one in refunds if one.payment_id == payment.payment_id]
            found += [
                (payment.reference, one.amount_minor, ByHand(payment.payment_id, one.order_line_id, one.refund_id))
                for one in own
                if one.status in {"requested", "failed"}
                and str(one.refund_id) not in made
                and (payment.payment_id, one.order_line_id) not in by_hand
            ]
            if payment is paying and payment.state == "settled":
                taken = {one.order_line_id for one in refunds}
                found += [
                    (payment.reference, line.due_minor, ByHand(payment.payment_id, line.order_line_id, None))
                    for line in lines
                    if line.order_line_id not in taken and (payment.payment_id, line.order_line_id) not in by_hand
                ]
        return found

    async def explain(self):
        async with self.driver.service.client("finance") as finance:
            shown = (await finance.get("/v1/unmatched-payments", params={"open": True, "limit": 100})).json()["items"]
            for row in shown:
                by_hand = self.provider.by_hand.get(row["reference"])
                if row["reason"] != "unknown_refund" or by_hand is None:
                    continue
                by_hand.refund_id = by_hand.refund_id or await self.refund_of(by_hand)
                if by_hand.refund_id is None:
                    continue
                path = f"/v1/unmatched-payments/{row['unmatched_id']}/closure"
                said = {"note": "Made by hand", "paid": [{"refund_id": str(by_hand.refund_id)}]}
                answer = await finance.post(path, json=said)
                settled = answer.status_code == 409 and answer.json()["code"] == "unmatched_payment_ended"
                must(answer.status_code in {200, 503} or settled, "what was paid by hand is not taken in", answer.text)

    async def refund_of(self, by_hand):
        """Our refund that one by hand paid: there is one by now, or finance grants it."""
        of_line = Refund.order_line_id == by_hand.line_id, Refund.payment_id == by_hand.payment_id
        known = await self.driver.session.scalar(
            select(Refund.refund_id).where(*of_line, Refund.reason_code != "not_paid_for")
        )
        return known or await self.grant_line(by_hand.line_id)

    async def decide(self):
        await super().decide()
        await self.explain()
