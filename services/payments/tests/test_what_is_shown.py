"""What learners and finance are shown is how it is now."""

import json

import pytest

from payments.jobs import submit_refunds


async def receipt(shop, order):
    async with shop.learner() as client:
        return (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()


async def say(shop, record, resource, **data):
    shop.clock.advance(seconds=1)
    named = {name: record[name] for name in record if name in {"payment_id", "refund_id", "external_reference"}}
    event = {"event_type": data["status"], "event_date": shop.clock().isoformat(), "event_resource": resource}
    return await shop.callback(json.dumps(event | {"data": named | data}).encode())


@pytest.fixture
async def short(shop):
    """An order of one line of which less than the price was paid back."""
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    await shop.run(submit_refunds)
    [refund] = shop.sandbox.refunds(reference)
    refund["plan"] = []
    await say(shop, refund, "refunds", status="finished", amount=40000, currency="GBP")
    return order, refund


async def test_a_part_that_went_back_stands_in_the_receipt_and_the_order(shop, short):
    order, refund = short
    shown = await receipt(shop, order)
    assert (shown["status"], shown["refunded"]["amount_minor"]) == ("partly_refunded", 40000)
    assert shown["lines"][0]["refunded"]["amount_minor"] == 40000
    assert (await shop.read(order))["status"] == "partly_refunded"
    await say(shop, refund, "refunds", status="finished", amount=49500, currency="gbp")
    shown = await receipt(shop, order)
    assert (shown["status"], shown["refunded"]["amount_minor"]) == ("refunded", 49500)


async def test_what_is_well_again_is_no_longer_for_finance_to_look_at(shop, short):
    _, refund = short
    assert set(await shop.unmatched()) == {"refunded_too_little"}
    await say(shop, refund, "refunds", status="archived", amount=40000, currency="GBP")
    assert "unknown_status" in await shop.unmatched()
    await say(shop, refund, "refunds", status="finished", amount=49500, currency="GBP")
    assert await shop.unmatched() == {}


async def test_a_word_we_did_not_know_is_followed_by_one_we_do(shop):
    _, reference = await shop.buy(await shop.sell())
    record = shop.sandbox.payment(reference)
    record["plan"] = []
    money = {"amount_to": "49500", "currency_to": "GBP"}
    await say(shop, record, "payments", status="archived", **money)
    assert "unknown_status" in await shop.unmatched()
    await say(shop, record, "payments", status="guaranteed", **money)
    assert await shop.unmatched() == {}


async def test_the_receipt_of_what_was_paid_again_says_when_and_how(shop):
    order, first = await shop.buy(await shop.sell())
    shop.clock.advance(seconds=1)
    await shop.status(first, "cancelled")
    shop.clock.advance(days=10)
    second = (await shop.pay(await shop.open_session(order)))["payment_id"]
    record = shop.sandbox.payment(second)
    record["plan"] = []
    paid_at, method = shop.clock().isoformat().replace("+00:00", "Z"), (await receipt(shop, order))["method"]
    await say(shop, record, "payments", status="guaranteed", amount_to="49500", currency_to="GBP", payment_method=None)
    shown = await receipt(shop, order)
    assert (shown["payment_reference"], shown["paid_at"], shown["method"]) == (second, paid_at, method)


async def test_nothing_that_arrived_is_not_called_received(shop):
    order = await shop.order(await shop.sell())
    await shop.deliver((await shop.pay(await shop.open_session(order), amount=0))["payment_id"])
    assert [one["status"] for one in (await shop.read(order))["payments"]] == ["declined"]


async def test_a_currency_in_small_letters_is_the_same(shop):
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    shop.sandbox.session(session_id)["currency"] = "gbp"
    await shop.pay(session_id)
    assert (await shop.read(order))["status"] == "paid"
