"""What learners and finance are shown is how it is now."""

import json
from uuid import UUID

import pytest
from sqlalchemy import select, update

from payments.commands.ledger import post
from payments.jobs import submit_refunds
from payments.tables import Payment, Refund


async def receipt(driver, order):
    async with driver.learner() as client:
        return (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()


async def say(driver, record, resource, **data):
    driver.clock.advance(seconds=1)
    named = {name: record[name] for name in record if name in {"payment_id", "refund_id", "external_reference"}}
    event = {"event_type": data["status"], "event_date": driver.clock().isoformat(), "event_resource": resource}
    return await driver.callback(json.dumps(event | {"data": named | data}).encode())


@pytest.fixture
async def short(driver):
    """An order of one line of which less than the price was paid back."""
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    refund["plan"] = []
    await say(driver, refund, "refunds", status="finished", amount=40000, currency="GBP")
    return order, refund


async def test_a_part_that_went_back_stands_in_the_receipt_and_the_order(driver, short):
    order, refund = short
    shown = await receipt(driver, order)
    assert (shown["status"], shown["refunded"]["amount_minor"]) == ("partly_refunded", 40000)
    assert shown["lines"][0]["refunded"]["amount_minor"] == 40000
    assert (await driver.read(order))["status"] == "partly_refunded"
    await say(driver, refund, "refunds", status="finished", amount=49500, currency="gbp")
    shown = await receipt(driver, order)
    assert (shown["status"], shown["refunded"]["amount_minor"]) == ("refunded", 49500)


async def test_what_is_well_again_is_no_longer_for_finance_to_look_at(driver, short):
    _, refund = short
    assert set(await driver.unmatched()) == {"refunded_too_little"}
    await say(driver, refund, "refunds", status="archived", amount=40000, currency="GBP")
    assert "unknown_status" in await driver.unmatched()
    await say(driver, refund, "refunds", status="finished", amount=49500, currency="GBP")
    assert await driver.unmatched() == {}


async def test_a_word_we_did_not_know_is_followed_by_one_we_do(driver):
    _, reference = await driver.buy(await driver.sell())
    record = driver.sandbox.payment(reference)
    record["plan"] = []
    money = {"amount_to": "49500", "currency_to": "GBP"}
    await say(driver, record, "payments", status="archived", **money)
    assert "unknown_status" in await driver.unmatched()
    await say(driver, record, "payments", status="guaranteed", **money)
    assert await driver.unmatched() == {}


async def test_the_receipt_of_what_was_paid_again_says_when_and_how(driver):
    order, first = await driver.buy(await driver.sell())
    driver.clock.advance(seconds=1)
    await driver.status(first, "cancelled")
    driver.clock.advance(days=10)
    second = (await driver.pay(await driver.open_session(order)))["payment_id"]
    record = driver.sandbox.payment(second)
    record["plan"] = []
    paid_at, method = driver.clock().isoformat().replace("+00:00", "Z"), (await receipt(driver, order))["method"]
    await say(
        driver, record, "payments", status="guaranteed", amount_to="49500", currency_to="GBP", payment_method=None
    )
    shown = await receipt(driver, order)
    assert (shown["payment_reference"], shown["paid_at"], shown["method"]) == (second, paid_at, method)


async def test_nothing_that_arrived_is_not_called_received(driver):
    order = await driver.order(await driver.sell())
    await driver.deliver((await driver.pay(await driver.open_session(order), amount=0))["payment_id"])
    assert [one["status"] for one in (await driver.read(order))["payments"]] == ["declined"]


async def test_a_currency_in_small_letters_is_the_same(driver):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    driver.sandbox.session(session_id)["currency"] = "gbp"
    await driver.pay(session_id)
    assert (await driver.read(order))["status"] == "paid"


async def later_word(driver, order):
    """A refund of the order in a state of a later release."""
    await driver.session.execute(
        update(Refund).where(Refund.order_id == UUID(order["order_id"])).values(status="waiting_for_the_bank")
    )
    await driver.session.flush()
    driver.session.expire_all()


async def test_an_order_is_shown_without_its_refund_in_a_word_we_do_not_know_and_says_so(driver, short):
    order, _ = short
    other, _ = await driver.buy(await driver.sell())
    await later_word(driver, order)
    async with driver.learner() as client:
        listed = (await client.get("/v1/orders")).json()
        answer = await client.get(f"/v1/orders/{order['order_id']}/receipt")
    assert listed["unreadable"] == 0
    unreadable = {one["order_id"]: one["unreadable"] for one in listed["items"]}
    assert unreadable == {order["order_id"]: 1, other["order_id"]: 0}
    shown = await driver.read(order)
    assert (shown["unreadable"], shown["lines"][0]["refund"], shown["total"]["amount_minor"]) == (1, None, 49500)
    # A receipt is a sum: without that refund it might be a wrong one.
    assert (answer.status_code, answer.json()["code"]) == (500, "unreadable_record")


async def test_finance_learns_of_a_refund_in_a_word_we_do_not_know(driver, short):
    order, _ = short
    await later_word(driver, order)
    async with driver.service.client("finance") as client:
        page = (await client.get("/v1/refunds")).json()
        completed = (await client.get("/v1/refunds?status=completed")).json()
    assert (page["items"], page["unreadable"], completed["unreadable"]) == ([], 1, 0)


async def test_money_of_a_refund_in_a_word_we_do_not_know_is_not_free_in_the_books(driver):
    """The provider may have it, or be paying it."""
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    before = await driver.balances()
    assert before == {"cash": 49500, "refund_liability": -49500}
    await later_word(driver, order)
    payment = (await driver.session.scalars(select(Payment))).one()
    await post(driver.session, "looked_again", payment)
    assert await driver.balances() == before
