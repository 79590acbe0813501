"""A refund whose turn has come and which the provider does not have is delayed, whatever holds it back: the payer is
told once, and it is shown to learner and finance, until it is sent."""

from datetime import timedelta

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from payments.domain.policy import policy_of
from payments.jobs import follow_refunds, measure_what_waits, submit_refunds
from shared.messaging.tables import QueuedEmail

from .disputes import close as close_dispute
from .disputes import dispute
from .unknown_refunds import URL, close, give_back

TOLD_AFTER = policy_of("mc-regs-2026.2").refund_delay_told_after


class HeldBack:
    """An order of three lines that is paid out, and something that holds back its refunds until it is over."""

    def __init__(self, driver, order, reference):
        self.driver, self.order, self.reference = driver, order, reference

    async def an_unknown_refund(self):
        self.driver.sandbox.create_refund(self.reference, 100, "", URL)
        yield
        assert (await close(self.driver, not_ours=True)).status_code == 200
        yield

    async def a_provider_that_is_away(self):
        there = self.driver.provider.app

        async def cut_off(scope, receive, send):
            raise httpx.ConnectError("away")

        self.driver.provider.app = cut_off
        yield
        self.driver.provider.app = there
        yield

    async def a_page_before_the_provider(self):
        there = self.driver.provider.app

        async def page(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"<html>"})

        self.driver.provider.app = page
        yield
        self.driver.provider.app = there
        yield

    async def a_provider_that_has_not_paid_it_out(self):
        self.driver.sandbox.payment(self.reference)["status"] = "guaranteed"
        yield
        self.driver.sandbox.payment(self.reference)["status"] = "delivered"
        yield

    async def another_that_the_bank_sent_back(self):
        await give_back(self.driver, self.order, 2)
        await looks(self.driver)
        [made] = self.driver.sandbox.refunds(self.reference)
        for status in ("finished", "returned", "received"):
            await says(self.driver, made, status)
        yield
        await says(self.driver, made, "finished")
        yield

    async def an_answer_that_never_came(self):
        failure = {"operation": "create_refund", "times": 1, "seconds": 0, "takes_effect": True}
        (await self.driver.control.post("/control/failures", json=failure)).raise_for_status()
        there, held = self.driver.provider.app, []

        async def without_lists(scope, receive, send):
            if held and scope["method"] == "GET":
                raise httpx.ConnectError("away")
            await there(scope, receive, send)
            held.extend([1] if scope["method"] == "POST" else [])

        self.driver.provider.app = without_lists
        await self.driver.control.put("/control/callbacks", json={"mode": "drop"})
        yield
        held.clear()
        self.driver.provider.app = there
        yield


WHATEVER = [name for name in vars(HeldBack) if not name.startswith("_")]


async def says(driver, made, status):
    made["plan"] = []
    driver.clock.advance(seconds=2)
    driver.sandbox.set_refund_status(made, status)
    await driver.sandbox.run_due()


async def looks(driver, **after):
    await driver.later(**after or {"seconds": 1})
    await driver.run(submit_refunds, follow_refunds)


async def paid_out(driver):
    order, reference = await driver.buy(*[await driver.sell(title=title) for title in ("One", "Other", "Third")])
    await driver.deliver(reference)
    return order, reference


async def told(driver):
    found = await driver.session.scalars(
        select(QueuedEmail.text).where(QueuedEmail.kind == "refund_delayed", QueuedEmail.text.not_like("%in full%"))
    )
    return sorted(title for text in found.all() for title in ("One", "Other", "Third") if f"for {title} (" in text)


async def shown(driver, order):
    """Since when the refunds of the first two lines are delayed, as the learner is shown."""
    return [line["refund"]["delayed_since"] for line in (await driver.read(order))["lines"][:2]]


async def listed(driver):
    """The refunds that finance is shown without asking for any state, and how many are measured."""
    await driver.run(measure_what_waits)
    async with driver.service.client("finance") as finance:
        items = (await finance.get("/v1/refunds")).json()["items"]
    return [one["refund_id"] for one in items], REGISTRY.get_sample_value("refunds_delayed")


@pytest.mark.parametrize("what", WHATEVER)
async def test_whatever_holds_a_refund_back_it_is_told_once_and_shown_until_it_is_over(driver, what):
    order, reference = await paid_out(driver)
    held = getattr(HeldBack(driver, order, reference), what)()
    await anext(held)
    refund_ids = [await give_back(driver, order, line) for line in (0, 1)]
    spent, pause = timedelta(), timedelta(minutes=1)
    while spent < TOLD_AFTER - pause:
        await looks(driver, minutes=1)
        spent += pause
        assert await told(driver) == []
    assert None not in await shown(driver, order)
    assert await listed(driver) == (refund_ids, 2)
    since = await shown(driver, order)
    await looks(driver, minutes=61)
    await looks(driver, minutes=1)
    assert await told(driver) == ["One", "Other"]
    for _ in range(3):
        await looks(driver, hours=2)
    assert await told(driver) == ["One", "Other"]
    assert await shown(driver, order) == since
    await anext(held)
    for _ in range(6):
        await looks(driver, hours=2)
    assert [line["refund"]["status"] for line in (await driver.read(order))["lines"][:2]] == ["completed"] * 2
    assert await shown(driver, order) == [None, None]
    assert await listed(driver) == ([], 0)
    assert await told(driver) == ["One", "Other"]


async def test_beside_a_refund_by_hand_it_is_told_in_time_though_the_provider_is_asked_hourly(driver):
    order, reference = await paid_out(driver)
    driver.sandbox.create_refund(reference, 100, "", URL)
    for line in (0, 1):
        await give_back(driver, order, line)
    await looks(driver)
    await looks(driver, seconds=TOLD_AFTER.total_seconds() - 5)
    assert await told(driver) == []
    await looks(driver, seconds=10)
    assert await told(driver) == ["One", "Other"]


async def test_what_waits_for_its_turn_or_for_a_bank_is_not_delayed(driver):
    order, reference = await paid_out(driver)
    for line in (0, 1):
        await give_back(driver, order, line)
    await looks(driver)
    [made] = driver.sandbox.refunds(reference)
    made["plan"] = []
    await looks(driver, hours=1)
    opened = await dispute(driver, order)
    await says(driver, made, "finished")
    for _ in range(3):
        await looks(driver, hours=1)
    assert await shown(driver, order) == [None, None]
    assert await listed(driver) == ([], 0)
    (await close_dispute(driver, opened.json()["dispute_id"], "won")).raise_for_status()
    await looks(driver, hours=1)
    assert await told(driver) == []


async def test_one_that_is_owed_again_is_not_delayed_since_before_its_payment_was_lost(driver):
    order, reference = await paid_out(driver)
    driver.sandbox.create_refund(reference, 100, "", URL)
    for line in (0, 1):
        await give_back(driver, order, line)
    await looks(driver)
    assert None not in await shown(driver, order)
    for outcome in ("lost", "won"):
        driver.clock.advance(seconds=1)
        opened = await dispute(driver, order, payment_reference=reference)
        (await close_dispute(driver, opened.json()["dispute_id"], outcome)).raise_for_status()
    assert [line["refund"]["status"] for line in (await driver.read(order))["lines"][:2]] == ["requested"] * 2
    assert await shown(driver, order) == [None, None]


@pytest.mark.parametrize("over", ["sent", "refused"])
async def test_what_waits_for_its_turn_is_delayed_no_more_once_the_one_before_it_is_not(driver, over):
    order, reference = await paid_out(driver)
    held = HeldBack(driver, order, reference).a_provider_that_is_away()
    await anext(held)
    for line in (0, 1):
        await give_back(driver, order, line)
    await looks(driver)
    assert None not in await shown(driver, order)
    await anext(held)
    if over == "refused":
        driver.sandbox.payment(reference)["amount_to"] = 1
    for _ in range(2):  # the second's turn comes only where the first was refused
        assert await told(driver) == []
        await looks(driver, minutes=2)
    first, second = ((line["refund"]["status"]) for line in (await driver.read(order))["lines"][:2])
    assert (first, second) == (("submitted", "requested") if over == "sent" else ("failed", "failed"))
    assert await shown(driver, order) == [None, None]
    assert await told(driver) == []


async def test_what_waits_for_a_bank_is_delayed_no_more_and_by_what_comes_after_anew(driver):
    order, reference = await paid_out(driver)
    held = HeldBack(driver, order, reference)
    away = held.a_provider_that_is_away()
    await anext(away)
    for line in (0, 1):
        await give_back(driver, order, line)
    await looks(driver)
    case = (await dispute(driver, order)).json()
    assert await shown(driver, order) == [None, None]
    assert (await listed(driver))[0] == []
    await anext(away)
    for _ in range(3):
        await looks(driver, hours=2)
    (await close_dispute(driver, case["dispute_id"], "won")).raise_for_status()
    await anext(held.a_provider_that_is_away())
    await looks(driver)
    assert None not in await shown(driver, order)
    assert await told(driver) == []
