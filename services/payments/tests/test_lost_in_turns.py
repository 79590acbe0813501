"""Two payments of an order are lost and there again in turns: what is owed back follows from what was given back."""

from itertools import product
from uuid import UUID

import pytest

from shared.events.enrolment import ActivationRefused
from shared.events.payments import RefundRequested

from .disputes import close, dispute
from .endings import OF_BOTH, OF_ONE, OF_OTHER, bought, e_mailed, end, grant

GIVEN_BACK = {"refunded", "granted", "granted while lost", "never given"}
WITHOUT_REFUND = {"withdrawn", "failed", "attempts exhausted"}
PAID = {"first": OF_BOTH, "second": OF_OTHER}


class Expected:
    """Where the money is, as the rules have it: the second payment pays the order, for its second line only."""

    def __init__(self, given_back):
        self.there, self.duplicates, self.pays = {"second"}, set(), "second"
        self.given_back = given_back

    def turn(self, name):
        if name in self.there:
            self.there.remove(name)
            return
        if name not in self.duplicates and self.pays != name and self.pays in self.there:
            self.duplicates.add(name)
        elif name not in self.duplicates:
            self.pays = name
        self.there.add(name)

    def balances(self):
        owed = sum(PAID[name] for name in self.there & self.duplicates)
        sold = PAID[self.pays] if self.pays in self.there else 0
        if self.pays == "first" and sold and self.given_back:
            owed, sold = owed + OF_ONE, OF_OTHER
        return {name: -amount for name, amount in [("sales", sold), ("refund_liability", owed)] if amount}


async def decide(driver, order, payment, outcome):
    driver.clock.advance(seconds=1)
    case = (await dispute(driver, order, payment_reference=payment)).json()
    (await close(driver, case["dispute_id"], outcome)).raise_for_status()


async def leave(driver, order, enrolments, how):
    match how:
        case "refunded":
            (await driver.refund(order, 0)).raise_for_status()
        case "granted" | "granted while lost":
            (await grant(driver, order)).raise_for_status()
        case "never given":
            line = order["lines"][0]
            ids = {name: UUID(line[name]) for name in ("order_line_id", "course_id")}
            who = {"order_id": UUID(order["order_id"]), "learner_id": driver.learner_id}
            refusal = {"reason_code": "course_withdrawn", "refused_at": driver.clock()}
            await driver.consume(ActivationRefused(**ids, **who, **refusal))
        case kind:
            await driver.consume(end(driver, order, enrolments, kind))


async def paid_again(driver, how):
    """An order of two lines of which the first was left; its payment is lost, and another pays for the second line."""
    order, first, enrolments = await bought(driver, OF_ONE, OF_OTHER)
    if how != "granted while lost":
        await leave(driver, order, enrolments, how)
    await decide(driver, order, first, "lost")
    if how == "granted while lost":
        await leave(driver, order, enrolments, how)
    second = (await driver.pay(await driver.open_session(order)))["payment_id"]
    await driver.deliver(second)
    return order, {"first": first, "second": second}


@pytest.mark.parametrize("turns", list(product(PAID, repeat=3)), ids="-".join)
@pytest.mark.parametrize("how", sorted(GIVEN_BACK | WITHOUT_REFUND))
async def test_a_line_is_owed_back_exactly_where_it_was_given_back(driver, how, turns):
    order, payments = await paid_again(driver, how)
    expected = Expected(how in GIVEN_BACK)
    for name in turns:
        await decide(driver, order, payments[name], "lost" if name in expected.there else "won")
        expected.turn(name)
        balances = await driver.balances()
        balances.pop("cash", None)
        assert balances == expected.balances(), (turns, name)


async def test_a_line_given_up_without_a_refund_may_be_given_back_once_its_money_is_there(driver):
    order, payments = await paid_again(driver, "withdrawn")
    await decide(driver, order, payments["second"], "lost")
    await decide(driver, order, payments["first"], "won")
    assert (await driver.read(order))["lines"][0]["refund"] is None
    assert await driver.announced(RefundRequested) == []
    (await grant(driver, order)).raise_for_status()
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [OF_ONE]


@pytest.mark.parametrize("turns", [one for one in product(PAID, repeat=3) if "first" in one], ids="-".join)
@pytest.mark.parametrize("second", ["there", "lost"])
async def test_one_left_out_may_be_given_back_while_the_payment_that_paid_for_it_is_lost(driver, second, turns):
    """Whatever becomes of the payment that pays the order without it."""
    order, payments = await paid_again(driver, "withdrawn")
    expected = Expected(given_back=True)
    if second == "lost":
        await decide(driver, order, payments["second"], "lost")
        expected.turn("second")
    granted = await grant(driver, order)
    assert (granted.status_code, granted.json()["status"]) == (201, "cancelled")
    assert [one.reason_code for one in await driver.announced(RefundRequested)] == ["goodwill"]
    assert len(await e_mailed(driver, "line_given_back")) == 1
    assert (await grant(driver, order)).json()["code"] == "refund_already_requested"
    for name in turns:
        await decide(driver, order, payments[name], "lost" if name in expected.there else "won")
        expected.turn(name)
        balances = await driver.balances()
        balances.pop("cash", None)
        assert balances == expected.balances(), (turns, name)


async def test_of_refunds_reopened_together_the_first_waits_for_none(driver):
    order, first, _ = await bought(driver, OF_ONE, OF_OTHER)
    await decide(driver, order, first, "lost")
    for line in (0, 1):
        (await grant(driver, order, line)).raise_for_status()
    await decide(driver, order, first, "won")
    letters = await e_mailed(driver, "refund_requested")
    assert ["another refund of the same payment" in letter for letter in letters] == [False, True]
