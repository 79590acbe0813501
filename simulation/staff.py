"""The staff, and what each may do next: markers, examiners, boards, registrars, finance, editors."""

import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from simulation import finance
from simulation.looking import Look
from simulation.people import Answer, Person

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

Deed = Callable[[random.Random], Coroutine[Any, Any, None]]


class Staff:
    """All members of staff, by the names of `base.STAFF`."""

    def __init__(self, platform: "SimulatedPlatform") -> None:
        self.platform = platform
        self._people: dict[str, Person] = {}

    def __getitem__(self, name: str) -> Person:
        return self._people.setdefault(name, Person(self.platform, name))

    def deeds(self) -> dict[Deed, float]:
        has = self.platform.behaviours.__contains__
        return {
            self.open_window: 3,
            self.close_and_release: 5,
            self.mark: 9,
            self.ratify: 6,
            self.open_case: 1.5 * has("misconduct"),
            self.decide_case: 2.5 * has("misconduct"),
            self.revoke: 1.0 * has("revocations"),
            self.reinstate: 0.8 * has("revocations"),
            self.confer: 5,
            self.refuse_claim: 0.5,
            self.decide_review: 2,
            self.decide_name: 2.0 * has("renames"),
            self.dispute: 1.0 * has("disputes"),
            self.close_dispute: 1.5 * has("disputes"),
            self.let_loss_pass: 1.0 * has("disputes"),
            self.retry_refund: 1.0 * has("refunds"),
            self.give_back: 0.7 * has("refunds"),
            self.pay_back_by_hand: 3.0 * has("refunds by hand"),
            self.explain_refunds: 2.0 * has("refunds by hand"),
            self.rename_subject: 0.7 * has("catalogue changes"),
            self.change_price: 0.7 * has("catalogue changes"),
            self.new_version: 0.5 * has("catalogue changes"),
            self.withdraw_course: 0.2 * has("catalogue changes"),
            self.anonymise: 0.7 * has("erasure"),
        }

    async def open_window(self, _: random.Random) -> None:
        at = self.platform.time()
        body = {"opens_at": at.isoformat(), "closes_at": (at + timedelta(days=2)).isoformat()}
        await self["examiner"].ask("POST", "/v1/windows", body)

    async def _windows(self) -> list[str]:
        return [one["window_id"] for one in await self["examiner"].items("/v1/windows", state="closed")]

    async def close_and_release(self, chance: random.Random) -> None:
        examiner = self["examiner"]
        open_ = [one["window_id"] for one in await examiner.items("/v1/windows", state="open")]
        if open_ and chance.random() < 0.6:
            await examiner.ask("POST", f"/v1/windows/{chance.choice(open_)}/closing")
        if closed := await self._windows():
            await examiner.ask("POST", f"/v1/windows/{chance.choice(closed[:4])}/release")

    async def mark(self, chance: random.Random) -> None:
        marker = self["marker"]
        for piece in await marker.items("/v1/marking-queue"):
            mark = chance.choice(
                [38, 49, 50, 55, 62, 68, 71, 80, 45] if "fails" in self.platform.behaviours else [55, 66, 72]
            )
            judgement = {"mark": str(mark), "feedback": "Read."}
            await marker.ask("POST", f"/v1/submissions/{piece['submission_id']}/marks", judgement)

    async def ratify(self, chance: random.Random) -> None:
        if closed := await self._windows():
            body = {"window_id": chance.choice(closed[:4]), "minutes_reference": f"EB-{chance.randint(1, 999)}"}
            await self["board"].ask("POST", "/v1/boards", body)

    async def _results(self, chance: random.Random) -> list[Any]:  # Any: JSON
        windows = await self._windows()
        if not windows:
            return []
        return await self["examiner"].items(f"/v1/windows/{chance.choice(windows[:4])}/results")

    async def open_case(self, chance: random.Random) -> None:
        if results := await self._results(chance):
            body = {"submission_id": chance.choice(results)["submission_id"], "reason_code": "plagiarism"}
            await self["examiner"].ask("POST", "/v1/misconduct-cases", body)

    async def decide_case(self, chance: random.Random) -> None:
        open_ = [one for one in await self["panel"].items("/v1/misconduct-cases") if not one.get("outcome")]
        if open_:
            outcome = chance.choice(["no_case", "resubmit", "mark_zero", "credit_revoked"])
            await self._decide(chance.choice(open_)["case_id"], outcome)

    async def _decide(self, case_id: str, outcome: str) -> Answer:
        minutes = {"outcome": outcome, "minutes_reference": "PANEL-1"}
        return await self["panel"].ask("POST", f"/v1/misconduct-cases/{case_id}/decision", minutes)

    async def revoke(self, chance: random.Random) -> None:
        if credit := await self._some_credit(chance):
            decision = {"minutes_reference": "EB-R", "reason_code": "assessment_error"}
            await self["board"].ask("POST", f"/v1/credits/{credit}/revocation", decision)

    async def reinstate(self, chance: random.Random) -> None:
        if credit := await self._some_credit(chance):
            decision = {"minutes_reference": "EB-A", "reason_code": "appeal"}
            await self["board"].ask("POST", f"/v1/credits/{credit}/reinstatement", decision)

    async def _some_credit(self, chance: random.Random) -> str | None:
        learner = chance.choice(self.platform.learners)
        credits_ = await learner.items("/v1/credits")
        return chance.choice(credits_)["credit_id"] if credits_ else None

    async def _awards(self, state: str) -> list[str]:
        return [one["award_id"] for one in await self["registrar"].items("/v1/awards") if one["state"] == state]

    async def confer(self, chance: random.Random) -> None:
        if claimed := await self._awards("claimed"):
            await self["registrar"].ask("POST", f"/v1/award-claims/{chance.choice(claimed)}/conferral")

    async def refuse_claim(self, chance: random.Random) -> None:
        if claimed := await self._awards("claimed"):
            body = {"reason_code": "claimed_in_error"}
            await self["registrar"].ask("POST", f"/v1/award-claims/{chance.choice(claimed)}/refusal", body)

    async def decide_review(self, chance: random.Random) -> None:
        waiting = await self["registrar"].items("/v1/award-reviews", waiting="true")
        if waiting:
            review = chance.choice(waiting)
            wanted = (
                review["proposal"]["decision"]
                if chance.random() < 0.6
                else chance.choice(["substitute", "rescind", "rescind_and_offer"])
            )
            await self._decide_review(review["review_id"], wanted)

    async def _decide_review(self, review_id: str, decision: str) -> Answer:
        body = {"decision": decision, "reason_code": "misconduct"}
        return await self["registrar"].ask("POST", f"/v1/award-reviews/{review_id}/decision", body)

    async def decide_name(self, chance: random.Random) -> None:
        for one in (await self["registrar"].items("/v1/name-requests"))[:3]:
            decision = {"approved": chance.random() < 0.7, "reason": "Seen."}
            await self["registrar"].ask("POST", f"/v1/name-requests/{one['request_id']}/decision", decision)

    async def dispute(self, chance: random.Random) -> None:
        """Record a dispute about an order or about one of its payments, perhaps one that another has replaced, or one
        that is lost: a bank decides a second time."""
        statement = "select order_id::text, reference, state = 'lost' as lost from payments order by reference"
        async with Look(self.platform) as look:
            payments = await look.ask("payments", statement)
        if payments:
            lost = [payment for payment in payments if payment["lost"]]
            again = bool(lost) and chance.random() < 0.5
            payment = chance.choice(lost if again else payments)
            body = {"order_id": payment["order_id"], "reason_code": "other", "case_reference": "CB-1"}
            if again or chance.random() < 0.6:
                body["payment_reference"] = payment["reference"]
            await self["finance"].ask("POST", "/v1/disputes", body)

    async def close_dispute(self, chance: random.Random) -> None:
        if open_ := await self["finance"].items("/v1/disputes", open="true"):
            await self._close_dispute(chance.choice(open_), chance.choice(["won", "lost", "withdrawn"]))

    async def _close_dispute(self, dispute: Any, outcome: str) -> Answer:  # Any: JSON
        path = f"/v1/disputes/{dispute['dispute_id']}/closing"
        return await self["finance"].ask("POST", path, {"outcome": outcome})

    async def let_loss_pass(self, chance: random.Random) -> None:
        """Reinstate a suspended enrolment, as for money that came by another way."""
        async with Look(self.platform) as look:
            statement = "select enrolment_id::text from enrolments where status = 'suspended' order by enrolment_id"
            suspended = await look.ask("enrolment", statement)
        if suspended:
            path = f"/v1/enrolments/{chance.choice(suspended)['enrolment_id']}/reinstatement"
            await self["finance"].ask("POST", path, {"reason_code": "paid_by_invoice"})

    async def retry_refund(self, chance: random.Random) -> None:
        orders = [order for learner in self.platform.learners for order in learner.orders]
        if orders:
            await self._retry_refunds(chance.choice(orders))

    async def _retry_refunds(self, order_id: str) -> None:
        order = await self["finance"].ask("GET", f"/v1/orders/{order_id}")
        if not order.ok:
            return
        for refund in [line["refund"] for line in order.body["lines"]] + order.body.get("returned", []):
            if refund and refund["status"] == "failed":
                await self["finance"].ask("POST", f"/v1/orders/{order_id}/refunds/{refund['refund_id']}/retry")

    async def give_back(self, chance: random.Random) -> None:
        await finance.give_back(self, chance)

    async def pay_back_by_hand(self, chance: random.Random) -> None:
        await finance.pay_back_by_hand(self, chance)

    async def explain_refunds(self, _: random.Random) -> None:
        await finance.explain(self)

    async def rename_subject(self, chance: random.Random) -> None:
        subjects = await self["editor"].items("/v1/subjects")
        if subjects:
            name = f"{chance.choice(['Leadership', 'Data Studies', 'Management'])} {chance.randint(1, 9)}"
            path = f"/v1/subjects/{chance.choice(subjects)['subject_id']}/names"
            await self["editor"].ask("PUT", path, {"name": name, "award_name": name})

    def _course(self, chance: random.Random) -> str:
        return chance.choice(self.platform.courses)["course_id"]

    async def change_price(self, chance: random.Random) -> None:
        at = (self.platform.time() + timedelta(minutes=chance.choice([5, 600]))).isoformat()
        price = {"amount_minor": chance.choice([49500, 45000, 52000]), "currency": "GBP", "valid_from": at}
        await self["editor"].ask("POST", f"/v1/courses/{self._course(chance)}/prices", price)

    async def new_version(self, chance: random.Random) -> None:
        path = f"/v1/courses/{self._course(chance)}"
        await self["editor"].ask("POST", f"{path}/versions")
        await self["editor"].ask("POST", f"{path}/publication")

    async def withdraw_course(self, chance: random.Random) -> None:
        await self["editor"].ask("POST", f"/v1/courses/{self._course(chance)}/withdrawal")

    async def anonymise(self, chance: random.Random) -> None:
        learner = chance.choice(self.platform.learners)
        learner.asked_to_go = True
        answer = await self["registrar"].ask("PUT", f"/v1/learners/{learner.id}/anonymisation")
        if answer.ok:
            self.platform.remember("erasures", learner.id, name=learner.name)


async def at_the_end(platform: "SimulatedPlatform") -> None:
    """Let staff decide whatever waits for a decision, so that nothing is left over only because nobody looked."""
    staff = platform.staff
    async with Look(platform) as look:
        disputes = await look.ask("payments", "select dispute_id::text from disputes where closed_at is null")
        cases = await look.ask("assessment", "select case_id::text from misconduct_cases where outcome is null")
        reviews = await look.ask("credentials", "select review_id::text from award_reviews where decided_at is null")
        refunds = await look.ask("payments", "select distinct order_id::text from refunds where status = 'failed'")
    for dispute in disputes:
        await staff._close_dispute(dispute, "won")
    for case in cases:
        await staff._decide(case["case_id"], "no_case")
    for review in reviews:
        shown = await staff["registrar"].ask("GET", f"/v1/award-reviews/{review['review_id']}")
        if shown.ok:
            await staff._decide_review(review["review_id"], shown.body["proposal"]["decision"])
    await finance.explain(staff, at_last=True)
    for refund in refunds:
        await staff._retry_refunds(refund["order_id"])
