"""What the provider leaves out once is taken from the first answer that names it."""

import json

import pytest
from sqlalchemy import select

from payments.jobs import ask_about_payments, follow_refunds, submit_refunds
from payments.tables import Payment, ProviderRefund
from shared.events.payments import PaymentConfirmed, PaymentFailed


async def say(shop, record, status, resource="payments", **changes):
    data = {name: value for name, value in record.items() if name not in {"plan", "history"}} | {"status": status}
    event = {"event_type": status, "event_date": shop.clock().isoformat(), "event_resource": resource}
    assert (await shop.callback(json.dumps(event | {"data": data | changes}).encode())).status_code == 200


async def begun(shop, status):
    order = await shop.order(await shop.sell())
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    payment = await shop.pay(await shop.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    record = shop.sandbox.payment(payment["payment_id"])
    record["plan"] = []
    shop.sandbox.set_status(record, status)
    return order, record


@pytest.mark.parametrize("status", ["processed", "delivered"])
async def test_a_card_is_confirmed_by_the_first_answer_that_names_it(shop, status):
    order, record = await begun(shop, status)
    await say(shop, record, status, payment_method=None)
    await shop.run(ask_about_payments)
    assert await shop.session.scalar(select(Payment.method)) == "card"
    assert (await shop.read(order))["status"] == "paid"
    assert len(await shop.announced(PaymentConfirmed)) == 1


async def test_a_payment_that_failed_fails_once(shop):
    _, record = await begun(shop, "failed")
    await say(shop, record, "failed", payment_method=None)
    shop.clock.advance(days=2)
    await shop.run(ask_about_payments)
    assert len(await shop.announced(PaymentFailed)) == 1


async def test_the_currency_of_a_refund_is_taken_from_the_first_answer_that_names_it(shop):
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    await shop.run(submit_refunds)
    [made] = shop.sandbox.refunds(reference)
    made["plan"] = []
    row = await shop.session.scalar(select(ProviderRefund))
    row.currency = None
    shop.clock.advance(hours=3)
    await shop.run(follow_refunds)
    await shop.session.refresh(row)
    assert row.currency == "GBP"
