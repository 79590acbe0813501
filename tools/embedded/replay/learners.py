"""What a learner of the data set does on the platform; each step is done once, however often it is called for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from embedded.journey import JSON, Learner, Name, Refused, eventually, pay_at_the_sandbox, until
from embedded.replay.journal import Journal
from embedded.replay.mapping import Plan, work
from embedded.replay.oulad import Result
from embedded.replay.staff import COHORT_SECONDS, Course

NOTHING_LEFT = "already_bought"
"""The problem code of an order for a course whose enrolment is under way or passed."""


TRIES = 3


class Mismatch(RuntimeError):
    """The platform did something else than the replay expects."""


@dataclass
class Study:
    """A learner's progress in a module."""

    enrolments: Mapping[str, str] = field(default_factory=dict[str, str])
    """The enrolments of what was bought last, by part."""
    left: bool = False
    failed: bool = False
    """Whether the last result was a fail, so that attempts may be used up."""


class Student(Learner):
    """One learner of the data set, and the state of their studies on the platform."""

    patience_seconds = COHORT_SECONDS

    def __init__(self, client: httpx.AsyncClient, journal: Journal, run: str, number: int) -> None:
        super().__init__(client, seed=f"replay {run} learner {number}")
        self.journal, self.number = journal, number
        self.name = Name("Learner", "".join("abcdefghij"[int(digit)] for digit in str(number)).title())
        self.email = f"learner-{number}.{run}@replay.example"
        self.studies: dict[str, Study] = {}
        self.orders: list[str] = []
        self.given_up: set[str] = set()
        """Enrolments withdrawn from."""
        self.cooled_off: set[str] = set()
        self.refused = 0
        """How many purchases were refused because the course was passed before."""
        self.account_id = ""
        self.resumed = journal.resumed
        """Whether a step may have been under way when the run was broken off."""

    @property
    def password(self) -> str:
        return self.journal.password(self.email)

    async def arrive(self) -> None:
        """Open the account and register with the short form."""
        step = f"learner/{self.number}"
        known = self.journal.find(step)
        if known is None:
            self.resumed = False
            account = await self.open_account(self.email, self.password)
            await self.register(self.name, self.email)
            known = self.journal.note(step, {"account_id": account["account_id"]})
        elif not self.account_id:
            self.sign_in_later(self.email, self.password)
        self.account_id = str(known["account_id"])

    def studying(self, plan: Plan) -> Study:
        return self.studies.setdefault(plan.registration.module, Study())

    async def buy(self, plan: Plan, step: str, courses: Sequence[Course], *, twice: bool = False) -> None:
        """Order the parts of the module and pay, unless attempts are left of an earlier purchase."""
        known = self.journal.find(f"{step}/paid")
        if known is None:
            orders: list[str] = []
            if not await self._may_resit(self.studying(plan)):
                orders = [await self._order_and_pay(step, courses, twice=twice)]
            known = self.journal.note(f"{step}/paid", {"orders": orders})
        self.orders += known["orders"]

    async def _may_resit(self, study: Study) -> bool:
        if not study.enrolments or study.left:
            return False
        if not study.failed:
            return True
        view = await self.ask("GET", f"/v1/assessments/{next(iter(study.enrolments.values()))}")
        return view["attempts_left"] > 0

    async def _order_and_pay(self, step: str, courses: Sequence[Course], *, twice: bool) -> str:
        order = await self._place(f"{step}/0", courses)
        if twice:
            await self._be_refused_a_second_order(f"{step}/1", courses)
        checkout = await self.check_out(order, self.name, self.email)
        await self._pay(checkout["pay_url"])
        return str(order["order_id"])

    async def _be_refused_a_second_order(self, purpose: str, courses: Sequence[Course]) -> None:
        """Try to order courses that are in another order that can be paid, or was; raises Mismatch if that succeeds."""
        course_ids = sorted(course.course_id for course in courses)
        try:
            for course_id in course_ids:
                await self.ask("PUT", f"/v1/basket/items/{course_id}")
            await self.ask("POST", "/v1/orders", {"course_ids": course_ids}, key=purpose)
        except Refused as refused:
            if refused.code not in {"already_ordered", NOTHING_LEFT}:
                raise
        else:
            raise Mismatch(f"learner {self.number} could order the same courses in two tabs")
        for course_id in course_ids:
            await self.ask("DELETE", f"/v1/basket/items/{course_id}")

    async def _pay(self, pay_url: str) -> None:
        """Pay once; where an answer may have been lost, now or in a broken-off run, it may be paid already."""
        uncertain = self.resumed
        for _ in range(TRIES):
            try:
                return await pay_at_the_sandbox(self.client, pay_url)
            except httpx.TransportError:
                uncertain = True
            except httpx.HTTPStatusError as failure:
                if uncertain and "is paid" in failure.response.text:
                    return None
                raise Mismatch(f"{pay_url} could not be paid: {failure.response.text}") from failure
        raise Mismatch(f"{pay_url} does not answer")

    async def _place(self, purpose: str, courses: Sequence[Course]) -> JSON:
        """Place an order for the version of this presentation. Returns it.

        An order of the version before (payments does not know the new one yet) is cancelled, since it bars others.
        """
        wanted = {course.course_id: course.course_version_id for course in courses}
        tries = 0

        async def order_of_version() -> JSON | None:
            nonlocal tries
            tries += 1
            order = await self._order(f"{purpose}/{tries}", sorted(wanted))
            got = {line["course_id"]: line["course_version_id"] for line in order["lines"]}
            if got == wanted:
                return order
            await self.ask("POST", f"/v1/orders/{order['order_id']}/cancellation")
            return None

        return await until(order_of_version, "payments sells this version", seconds=self.patience_seconds)

    async def _order(self, purpose: str, course_ids: list[str]) -> JSON:
        async def place() -> JSON:
            return await self.ask("POST", "/v1/orders", {"course_ids": course_ids}, key=purpose)

        if self.resumed:  # it may have been placed already; then the same key gets the stored reply
            try:
                return await place()
            except Refused as refused:
                if refused.code not in {"not_in_basket", "registration_needed", NOTHING_LEFT}:
                    raise
        for course_id in course_ids:
            await eventually(
                lambda course_id=course_id: self.ask("PUT", f"/v1/basket/items/{course_id}"),
                patient_with={"course_unknown", "course_not_on_sale"},
                seconds=self.patience_seconds,
            )
        patient_with = {"registration_needed", NOTHING_LEFT}
        return await eventually(place, patient_with=patient_with, seconds=self.patience_seconds)

    async def be_refused(self, step: str, courses: Sequence[Course]) -> None:
        """Try to buy courses that were passed before; raises Mismatch if they are sold."""
        if self.journal.find(f"{step}/refused") is None:
            for course in courses:
                await self.ask("PUT", f"/v1/basket/items/{course.course_id}")
            try:
                await self.ask("POST", "/v1/orders", {"course_ids": [c.course_id for c in courses]}, key=step)
            except Refused as refused:
                if refused.code != NOTHING_LEFT:
                    raise
            else:
                raise Mismatch(f"learner {self.number} could buy again what they have passed")
            for course in courses:
                await self.ask("DELETE", f"/v1/basket/items/{course.course_id}")
            self.journal.note(f"{step}/refused")
        self.refused += 1

    async def be_enrolled(self, plan: Plan, step: str, courses: Sequence[Course]) -> None:
        """Wait until every paid line is an enrolment; raises Mismatch where one is refunded instead."""
        orders = (self.journal.find(f"{step}/paid") or {"orders": []})["orders"]
        if not orders:
            return
        known = self.journal.find(f"{step}/enrolled")
        if known is None:
            lines = [line for order_id in orders for line in await self._settled_lines(order_id)]
            found = {line["course_id"]: line["enrolment_id"] for line in lines if line["enrolment_id"]}
            if len(found) != len(courses):
                raise Mismatch(f"learner {self.number} paid in {orders} and is enrolled only in {found}")
            known = self.journal.note(f"{step}/enrolled", {one.part: found[one.course_id] for one in courses})
        self.studies[plan.registration.module] = Study(known)

    async def _settled_lines(self, order_id: str) -> list[JSON]:
        async def settled() -> list[JSON] | None:
            order = await self.ask("GET", f"/v1/orders/{order_id}")
            done = order["paid_at"] and all(one["enrolment_id"] or one["refund"] for one in order["lines"])
            return order["lines"] if done else None

        what = f"every line of order {order_id} is an enrolment or is refunded"
        return await until(settled, what, seconds=self.patience_seconds, first_wait=0.2)

    async def cool_off(self, plan: Plan, step: str) -> None:
        """Cancel within the cooling-off period, with a refund; where this registration bought nothing, withdraw."""
        orders = (self.journal.find(f"{step}/paid") or {"orders": []})["orders"]
        if not orders:
            await self.leave(plan, step)
            return
        study = self.studying(plan)
        if self.journal.find(f"{step}/cooled off") is None:
            for order_id in orders:
                for line in (await self.ask("GET", f"/v1/orders/{order_id}"))["lines"]:
                    if line["enrolment_id"]:
                        path = f"/v1/orders/{order_id}/lines/{line['order_line_id']}/refund"
                        await self.ask("POST", path)
            self.journal.note(f"{step}/cooled off")
        self.cooled_off |= set(study.enrolments.values())
        study.left = True

    async def leave(self, plan: Plan, step: str) -> None:
        """Withdraw from the enrolments, without a refund."""
        study = self.studying(plan)
        if self.journal.find(f"{step}/left") is None:
            for enrolment_id in study.enrolments.values():
                await self.ask("POST", f"/v1/enrolments/{enrolment_id}/withdrawal")
            self.journal.note(f"{step}/left")
        self.given_up |= set(study.enrolments.values())
        study.left = True

    async def hand_in(self, plan: Plan, step: str, number: int, window_id: str) -> None:
        """Hand in the work of this round in every part."""
        study = self.studying(plan)
        if self.journal.find(f"{step}/handed in") is None:
            for part, enrolment_id in study.enrolments.items():
                await self.submit(enrolment_id, window_id, work(plan, number, part), f"project-{part.lower()}.md")
            self.journal.note(f"{step}/handed in")
        study.failed = plan.outcome(number) is Result.FAIL
