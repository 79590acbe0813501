"""Learners, and what each may do next, weighted towards trouble. All of it goes through the public API."""

import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

from simulation.base import confirm, register
from simulation.people import NAMES, Person

LETTERS: Final = "ABCDEFGH"
NEW: Final = ("Abel", "Brown", "Clark", "Dean")


class Learner(Person):
    """A learner, who remembers the ids of their orders and checkout sessions."""

    def __init__(self, platform: Any, name: str) -> None:  # Any: SimulatedPlatform
        super().__init__(platform, name)
        self.orders: list[str] = []
        self.sessions: list[str] = []
        self.asked_to_go = False

    def deeds(self) -> dict[Callable[[random.Random], Coroutine[Any, Any, None]], float]:
        """Return what they may do, each with its weight."""
        has = self.platform.behaviours.__contains__
        return {
            self.buy: 5,
            self.check_out: 6,
            self.pay: 9,
            self.cancel: 0.5,
            self.ask_back: 2.0 * has("refunds"),
            self.withdraw: 0.7 * has("refunds"),
            self.study: 1,
            self.submit: 9,
            self.rename: 1.5 * has("renames"),
            self.ask_for_another_name: 1.0 * has("renames"),
            self.claim: 5,
            self.withdraw_claim: 0.7,
            self.share: 1.0 * has("shares"),
            self.withdraw_share: 0.5 * has("shares"),
            self.transfer: 3.0 * has("transfers"),
            self.withdraw_transfer: 0.5 * has("transfers"),
            self.confirm_address: 1.5,
            self.look: 1.5,
        }

    async def buy(self, chance: random.Random) -> None:
        courses = chance.sample(self.platform.courses, k=chance.choice([1, 2, 4, 5]))
        for course in courses:
            await self.ask("PUT", f"/v1/basket/items/{course['course_id']}")
        placed = await self.ask("POST", "/v1/orders", {"course_ids": sorted(one["course_id"] for one in courses)})
        if placed.ok:
            self.orders.append(placed.body["order_id"])
            self.platform.remember("orders", placed.body["order_id"], learner=self.id)
            if chance.random() < 0.8:
                await self.begin_checkout(self.orders[-1], chance)

    async def check_out(self, chance: random.Random) -> None:
        if self.orders:
            await self.begin_checkout(chance.choice(self.orders), chance)

    async def begin_checkout(self, order: str, chance: random.Random) -> None:
        payer = {"email": f"{self.name}+{chance.randint(0, 2)}@people.example", "given_name": "A", "family_name": "B"}
        begun = await self.ask("POST", f"/v1/orders/{order}/checkout", {"payer": payer})
        if begun.ok:
            self.sessions.append(begun.body["pay_url"].rpartition("/")[2])

    async def pay(self, chance: random.Random) -> None:
        """Pay at the provider's page, perhaps on an old one."""
        if self.sessions:
            self.platform.provider.pay(
                self.sessions[-1] if chance.random() < 0.7 else chance.choice(self.sessions), chance
            )

    async def cancel(self, chance: random.Random) -> None:
        if self.orders:
            await self.ask("POST", f"/v1/orders/{chance.choice(self.orders)}/cancellation")

    async def ask_back(self, chance: random.Random) -> None:
        if not self.orders:
            return
        order = await self.ask("GET", f"/v1/orders/{chance.choice(self.orders)}")
        if order.ok:
            line = chance.choice(order.body["lines"])
            await self.ask("POST", f"/v1/orders/{order.body['order_id']}/lines/{line['order_line_id']}/refund")

    async def live_enrolments(self) -> list[Any]:  # Any: JSON
        return [one for one in await self.items("/v1/enrolments") if one["status"] in {"active", "suspended"}]

    async def withdraw(self, chance: random.Random) -> None:
        if enrolments := await self.live_enrolments():
            await self.ask("POST", f"/v1/enrolments/{chance.choice(enrolments)['enrolment_id']}/withdrawal")

    async def study(self, chance: random.Random) -> None:
        if enrolments := await self.live_enrolments():
            path = f"/v1/enrolments/{chance.choice(enrolments)['enrolment_id']}/units"
            for unit in await self.items(path):
                await self.ask("PUT", f"{path}/{unit['unit_id']}/progress", {"status": "finished"})

    async def submit(self, chance: random.Random) -> None:
        """Hand in work for all live enrolments, or for one."""
        enrolments = await self.live_enrolments()
        chosen = enrolments if chance.random() < 0.6 else chance.sample(enrolments, k=min(1, len(enrolments)))
        for enrolment in chosen:
            work = f"# Work {chance.random()}\n".encode()
            path = f"/v1/assessments/{enrolment['enrolment_id']}/submission"
            receipt = await self.ask("PUT", path, content=work, filename="project.md")
            if receipt.ok:
                self.platform.remember("submissions", receipt.body["submission_id"], sha256=receipt.body["sha256"])

    async def rename(self, chance: random.Random) -> None:
        name = chance.choice(["given_name", "display_name", "certificate_name"])
        given, family = NAMES[self.name]
        await self.ask("PATCH", "/v1/learners/me", {name: f"{given} {chance.choice(LETTERS)} {family}"})

    async def ask_for_another_name(self, chance: random.Random) -> None:
        given, family = NAMES[self.name]
        body = {"given_name": given, "family_name": f"{family}-{chance.choice(NEW)}", "statement": "I was married."}
        opened = await self.ask("POST", "/v1/name-requests", body)
        if opened.ok:
            path = f"/v1/name-requests/{opened.body['request_id']}"
            paper = f"%PDF-1.7 I am {family}.".encode()
            await self.ask("PUT", f"{path}/evidence", content=paper, filename="deed.pdf")
            await self.ask("POST", f"{path}/submission")

    async def claim(self, chance: random.Random) -> None:
        options = await self.ask("GET", "/v1/award-options")
        if not options.ok:
            return
        open_ = [(level["level"], one) for level in options.body["levels"] for one in level["options"]]
        if open_:
            level, option = chance.choice(open_)
            await self.ask("POST", "/v1/award-claims", {"level": level, "title": option["title"]})

    async def withdraw_claim(self, chance: random.Random) -> None:
        claimed = [one for one in await self.items("/v1/awards") if one["state"] == "claimed"]
        if claimed:
            await self.ask("POST", f"/v1/award-claims/{chance.choice(claimed)['award_id']}/withdrawal")

    async def share(self, chance: random.Random) -> None:
        body = {"recipient": "An employer", "purpose": "A job", "days": 30, "whole_record": True}
        body["with_name"] = chance.random() < 0.5
        granted = await self.ask("POST", "/v1/shares", body)
        if granted.ok and chance.random() < 0.7:
            gate = granted.body.get("url") or ""
            if gate:
                await self.ask("POST", "/shared/" + gate.rpartition("/")[2], {}, anonymous=True)

    async def withdraw_share(self, chance: random.Random) -> None:
        if shares := await self.items("/v1/shares"):
            await self.ask("POST", f"/v1/shares/{chance.choice(shares)['share_id']}/withdrawal")

    async def transfer(self, chance: random.Random) -> None:
        held = [one["credit_id"] for one in await self.items("/v1/credits") if one["status"] == "ratified"]
        if held:
            body = {"programme_id": self.platform.programme, "credit_ids": chance.sample(held, k=min(2, len(held)))}
            await self.ask("POST", "/v1/transfers", body)

    async def withdraw_transfer(self, chance: random.Random) -> None:
        if open_ := [one for one in await self.items("/v1/transfers") if one["state"] == "requested"]:
            await self.ask("POST", f"/v1/transfers/{chance.choice(open_)['transfer_id']}/withdrawal")

    async def confirm_address(self, _: random.Random) -> None:
        await confirm(self)

    async def look(self, chance: random.Random) -> None:
        path = chance.choice(["/v1/transcript", "/v1/study-record", "/v1/badges", "/v1/credits", "/v1/awards"])
        await self.ask("GET", path)


class Newcomer(Learner):
    """A learner who is not registered at the beginning."""

    def deeds(self) -> dict[Callable[[random.Random], Coroutine[Any, Any, None]], float]:
        return {self.register: 8} if not self.memory.get("registered") else super().deeds()

    async def register(self, _: random.Random) -> None:
        self.memory["registered"] = await register(self)
