"""What the provider leaves out once is taken from the first answer that names it."""

import json

import pytest
from sqlalchemy import select

from payments.jobs import ask_about_payments, follow_refunds, submit_refunds
from payments.tables import Payment, ProviderRefund
from shared.events.payments import PaymentConfirmed, PaymentFailed


async def say(driver, record, status, resource="payments", **changes):
    data = {name: value for name, value in record.items() if name not in {"plan", "history"}} | {"status": status}
    event = {"event_type": status, "event_date": driver.clock().isoformat(), "event_resource": resource}
    assert (await driver.callback(json.dumps(event | {"data": data | changes}).encode())).status_code == 200


async def begun(driver, status):
    order = await driver.order(await driver.sell())
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    payment = await driver.pay(await driver.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    record = driver.sandbox.payment(payment["payment_id"])
    record["plan"] = []
    driver.sandbox.set_status(record, status)
    return order, record


@pytest.mark.parametrize("status", ["processed", "delivered"])
async def test_a_card_is_confirmed_by_the_first_answer_that_names_it(driver, status):
    order, record = await begun(driver, status)
    await say(driver, record, status, payment_method=None)
    await driver.run(ask_about_payments)
    assert await driver.session.scalar(select(Payment.method)) == "card"
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1


async def test_a_payment_that_failed_fails_once(driver):
    _, record = await begun(driver, "failed")
    await say(driver, record, "failed", payment_method=None)
    driver.clock.advance(days=2)
    await driver.run(ask_about_payments)
    assert len(await driver.announced(PaymentFailed)) == 1


async def test_the_currency_of_a_refund_is_taken_from_the_first_answer_that_names_it(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [made] = driver.sandbox.refunds(reference)
    made["plan"] = []
    row = await driver.session.scalar(select(ProviderRefund))
    row.currency = None
    driver.clock.advance(hours=3)
    await driver.run(follow_refunds)
    await driver.session.refresh(row)
    assert row.currency == "GBP"
