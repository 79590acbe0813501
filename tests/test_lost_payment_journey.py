"""A payment is taken back, and its courses are given up, given back or paid again, through the front door."""

import secrets
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from embedded import demo, people
from embedded.journey import Learner, Name, Person, Refused, connected, until

NAME = Name("Ada", "Lovelace")


@dataclass
class Buyer:
    """A learner with one paid order, and a colleague of finance."""

    learner: Learner
    finance: Person
    email: str
    order: dict[str, Any]
    enrolments: dict[str, str]
    """Course -> its enrolment."""

    async def is_now(self, status: str, *enrolments: str, on_hold: bool) -> None:
        """Wait until the order, its enrolments and the learner's credit stand so."""

        async def seen() -> bool | None:
            order = await self.read()
            shown = [(await self.learner.ask("GET", f"/v1/enrolments/{one}"))["status"] for one in self.ids]
            held = (await self.learner.ask("GET", "/v1/award-options"))["on_hold"]
            return (order["status"], shown, held) == (status, list(enrolments), on_hold) or None

        await until(seen, f"the order is {status}, its enrolments {enrolments}, on hold: {on_hold}", seconds=30)

    @property
    def ids(self) -> list[str]:
        return [self.enrolments[line["course_id"]] for line in self.order["lines"]]

    async def read(self) -> dict[str, Any]:
        return await self.learner.ask("GET", f"/v1/orders/{self.order['order_id']}")

    async def check_out(self) -> dict[str, Any]:
        payer = {"email": self.email, "given_name": NAME.given, "family_name": NAME.family}
        path = f"/v1/orders/{self.order['order_id']}/checkout"
        return await self.learner.ask("POST", path, {"payer": payer}, key=secrets.token_hex(4))

    async def pay(self, pay_url: str) -> str:
        page = httpx.URL(pay_url)
        path = f"/control/pay/{page.path.rstrip('/').rpartition('/')[2]}"
        answer = await self.learner.client.post(page.copy_with(path=path, query=None))
        return answer.raise_for_status().json()["payment_id"]

    async def give_up(self, line: int) -> None:
        await self.learner.ask("POST", f"/v1/enrolments/{self.ids[line]}/withdrawal")

    async def give_back(self, line: int) -> dict[str, Any]:
        line_id = self.order["lines"][line]["order_line_id"]
        path = f"/v1/orders/{self.order['order_id']}/lines/{line_id}/granted-refund"
        return await self.finance.ask("POST", path, {"reason_code": "goodwill"})

    async def dispute(self) -> str:
        reference = (await self.read())["payments"][0]["reference"]
        body = {"order_id": self.order["order_id"], "reason_code": "not_recognised", "payment_reference": reference}
        case = secrets.token_hex(4)
        return (await self.finance.ask("POST", "/v1/disputes", body | {"case_reference": case}))["dispute_id"]

    async def close(self, dispute_id: str, outcome: str) -> None:
        await self.finance.ask("POST", f"/v1/disputes/{dispute_id}/closing", {"outcome": outcome})


@pytest.fixture
async def buyer(embedded_platform):
    async with connected(embedded_platform.url) as client:
        cast = await demo.cast_of(client, embedded_platform.deployment.folder)
        account = people.known(embedded_platform.deployment.folder)["finance"]
        finance = Person(client)
        await finance.sign_in(account.email, account.password)
        learner = cast.learner
        await learner.open_account(cast.email, "nine brass engines humming")
        await learner.register(NAME, cast.email)
        courses = (await learner.ask("GET", "/v1/courses", limit=2))["items"]
        order = await learner.order([course["course_id"] for course in courses])
        found = Buyer(learner, finance, cast.email, order, {})
        await found.pay((await found.check_out())["pay_url"])
        begun = await learner.enrolments_of(order["order_id"])
        found.enrolments = {one["course"]["course_id"]: one["enrolment_id"] for one in begun}
        await found.is_now("paid", "active", "active", on_hold=False)
        yield found


async def lost(buyer) -> None:
    await buyer.close(await buyer.dispute(), "lost")
    await buyer.is_now("reversed", "suspended", "suspended", on_hold=True)


async def test_what_the_learner_gives_up_is_neither_paid_again_nor_open_then(buyer):
    """H1."""
    await lost(buyer)
    await buyer.give_up(0)
    await buyer.is_now("reversed", "cancelled", "suspended", on_hold=True)
    rest = buyer.order["lines"][1]["due"]

    async def asked() -> str | None:
        page = await buyer.check_out()
        return page["pay_url"] if page["amount"] == rest else None

    await buyer.pay(await until(asked, "the rest is asked for", seconds=30))
    await buyer.is_now("paid", "cancelled", "active", on_hold=False)
    # Nothing was owed for what was given up, so no refund is shown.
    assert [line["refund"] for line in (await buyer.read())["lines"]] == [None, None]


async def test_what_is_paid_in_the_instant_in_which_it_is_given_up_goes_back(buyer):
    await lost(buyer)
    page = await buyer.check_out()
    await buyer.give_up(0)
    await buyer.pay(page["pay_url"])
    await buyer.is_now("paid", "cancelled", "active", on_hold=False)
    price = buyer.order["lines"][0]["due"]

    async def goes_back() -> bool | None:
        order = await buyer.read()
        of_line = [line["refund"] for line in order["lines"][:1] if line["refund"]]
        owed = [one for one in [*of_line, *order["returned"]] if one["status"] != "cancelled"]
        return [one["amount"] for one in owed] == [price] or None

    await until(goes_back, "its money goes back, once", seconds=30)


async def test_finance_gives_back_what_is_lost_and_nothing_is_left_to_pay(buyer):
    """H1, H2: the bank takes the money, and H1 has ended."""
    await lost(buyer)
    for line in (0, 1):
        assert (await buyer.give_back(line))["status"] == "cancelled"
    await buyer.is_now("reversed", "cancelled", "cancelled", on_hold=False)
    with pytest.raises(Refused) as refused:
        await buyer.check_out()
    assert (refused.value.status, refused.value.code) == (409, "order_not_payable")
    await buyer.close(await buyer.dispute(), "won")
    await buyer.is_now("paid", "cancelled", "cancelled", on_hold=False)
    shown = [line["refund"] for line in (await buyer.read())["lines"]]
    assert [one["reason_code"] for one in shown] == ["goodwill"] * 2
    assert {one["status"] for one in shown} <= {"requested", "submitting", "submitted", "completed"}, "it goes back now"


async def test_what_is_given_up_in_a_dispute_is_not_asked_for_once_that_is_lost(buyer):
    """H2."""
    case = await buyer.dispute()
    await buyer.is_now("paid", "suspended", "suspended", on_hold=True)
    for line in (0, 1):
        await buyer.give_up(line)
    await buyer.is_now("paid", "cancelled", "cancelled", on_hold=False)
    await buyer.close(case, "lost")
    await buyer.is_now("reversed", "cancelled", "cancelled", on_hold=False)

    async def refused() -> str | None:
        try:
            await buyer.check_out()
        except Refused as problem:
            return problem.code
        return None

    assert await until(refused, "nothing is left to pay", seconds=30) == "order_not_payable"
