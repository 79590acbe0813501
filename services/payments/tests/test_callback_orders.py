"""Callbacks in any order, doubled, late or lost: we end where the provider is."""

import json
import random
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from payments.jobs import (
    ask_about_payments,
    find_payments,
)
from payments.tables import (
    Payment,
)
from shared.events.payments import (
    DuplicateDetected,
    PaymentConfirmed,
    PaymentFailed,
    PaymentReversed,
    PaymentSettled,
    RefundRequested,
)


@pytest.mark.parametrize("newest_first", [False, True])
async def test_callbacks_in_any_order_end_in_the_same_state(driver, newest_first):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.control.put("/control/callbacks", json={"mode": "hold", "copies": 2})
    await driver.pay(session_id)
    await driver.later(seconds=1)
    await driver.later(seconds=1)
    assert (await driver.control.post("/control/callbacks/release", json={"newest_first": newest_first})).json() == {
        "released": 8
    }
    await driver.sandbox.run_due()
    await driver.run(ask_about_payments)
    payment = await driver.session.scalar(select(Payment))
    assert payment.state == "settled"
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1
    assert len(await driver.announced(PaymentSettled)) == 1
    assert await driver.announced(PaymentFailed, PaymentReversed, DuplicateDetected) == []


LIVES = (
    ("initiated", "processed", "guaranteed", "delivered"),
    ("initiated", "cancelled"),
    ("initiated", "cancelled", "initiated", "processed", "guaranteed", "delivered"),
    ("initiated", "processed", "cancelled"),
    ("initiated", "processed", "cancelled", "processed", "guaranteed"),
    ("initiated", "processed", "guaranteed", "delivered", "reversed"),
    ("initiated", "failed"),
)


@pytest.mark.parametrize("seed", range(21))
@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
async def test_whatever_becomes_of_the_callbacks_we_end_where_the_provider_is(driver, seed, leaves):
    """Lost, doubled and shuffled: at the end our state is the provider's, said once, and the books balance.

    Where the learner leaves the order at any moment, it is paid, or what was paid goes back.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    life = LIVES[seed % len(LIVES)]
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    payment = await driver.pay(session_id, first_name="SANDBOX_TO_CANCEL_STATUS")  # begins as `initiated`
    reference = payment["payment_id"]
    for status in life[1:]:
        driver.clock.advance(seconds=chance.choice([0, 1, 60]))
        await driver.status(reference, status)
    bodies = [one["body"].encode() for one in driver.sandbox.books.all("delivery")]
    delivered = [body for body in bodies for _ in range(chance.choice([0, 1, 1, 2]))]
    chance.shuffle(delivered)
    left, left_after = False, chance.randint(0, len(delivered)) if leaves else None
    for number, body in enumerate([*delivered, None]):
        if number == left_after:
            left = (await driver.cancel(order)).status_code == 200
        if body is None:
            break
        assert (await driver.callback(body)).status_code == 200
        if chance.random() < 0.3:
            await driver.run(ask_about_payments)
    for _ in range(12):
        driver.clock.advance(hours=1)
        await driver.run(ask_about_payments, find_payments)
    driver.clock.advance(days=1)
    await driver.run(ask_about_payments)

    row = await driver.session.scalar(select(Payment).execution_options(populate_existing=True))
    assert row.provider_status == life[-1]
    confirmed = len(await driver.announced(PaymentConfirmed))
    assert confirmed <= 1
    status = (await driver.read(order))["status"]
    returned = [one.amount_minor for one in await driver.announced(RefundRequested)]
    assert (status == "cancelled") == left
    if left:
        assert not confirmed
        assert returned == [49500] or (returned == [] and row.use is None)
    elif life[-1] in {"delivered", "guaranteed"}:
        assert (status, confirmed, returned) == ("paid", 1, [])
    else:
        assert status in ({"reversed"} if confirmed else {"placed", "expired"})
    assert len(await driver.announced(PaymentReversed)) >= (status == "reversed")
    total = await driver.session.execute(text("select coalesce(sum(amount_minor), 0)::bigint from ledger_entries"))
    assert total.scalar() == 0


async def test_an_old_callback_that_would_undo_a_cancellation_is_a_question(driver):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    await driver.later(seconds=1)
    reference = payment["payment_id"]
    assert len(await driver.announced(PaymentFailed)) == 1
    body = {
        "event_type": "processed",
        "event_date": (driver.clock() - timedelta(hours=1)).isoformat(),
        "event_resource": "payments",
        "data": {
            "payment_id": reference,
            "status": "processed",
            "amount_to": 49500,
            "currency_to": "GBP",
            "external_reference": payment["external_reference"],
            "payment_method": {"type": "card"},
        },
    }
    answer = await driver.callback(json.dumps(body).encode())
    assert (answer.status_code, answer.json()["outcome"]) == (200, "asking")
    await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "placed"
    assert await driver.announced(PaymentConfirmed) == []
