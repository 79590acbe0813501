"""What is said late, or by a copy that lags behind; money that is on its way again; a session that is paid in twice."""

from dataclasses import replace
from uuid import UUID

from sqlalchemy import select

from payments.domain.payments import ProviderStatus
from payments.handlers import inbox
from payments.jobs import ask_about_payments, find_payments
from payments.tables import CheckoutAttempt
from shared.events.enrolment import ActivationRefused
from shared.events.payments import PaymentFailed, PaymentRestored, PaymentReversed, RefundRequested


async def dispute_and_lose(driver, order):
    async with driver.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "other", "case_reference": "CB-9"}
        case = (await finance.post("/v1/disputes", json=body)).json()
        await finance.post(f"/v1/disputes/{case['dispute_id']}/closing", json={"outcome": "lost"})


async def test_what_the_bank_took_is_not_back_by_way_of_a_payment_that_begins_anew(driver):
    order, reference = await driver.buy(await driver.sell())
    await dispute_and_lose(driver, order)
    for status in ("cancelled", "initiated", "guaranteed", "delivered"):
        driver.clock.advance(seconds=1)
        await driver.status(reference, status)
    assert (await driver.read(order))["status"] == "reversed"
    assert await driver.announced(PaymentRestored) == []
    assert await driver.balances() == {}


async def test_lost_money_that_is_on_its_way_again_is_not_owed_until_it_is_there(driver):
    order, reference = await driver.buy(await driver.sell())
    for status in ("cancelled", "initiated"):
        driver.clock.advance(seconds=1)
        await driver.status(reference, status)
    line = order["lines"][0]
    refused = ActivationRefused(
        order_id=UUID(order["order_id"]),
        order_line_id=UUID(line["order_line_id"]),
        course_id=UUID(line["course_id"]),
        learner_id=driver.learner_id,
        reason_code="not_registered",
        refused_at=driver.clock(),
    )
    async with driver.service.process.database.transaction() as session:
        await inbox.receive(session, refused)
    assert await driver.announced(RefundRequested) == []
    driver.clock.advance(seconds=1)
    await driver.status(reference, "cancelled")
    [shown] = (await driver.read(order))["payments"]
    assert shown["status"] == "lost"
    assert await driver.announced(PaymentFailed) == []
    for status in ("processed", "guaranteed", "delivered"):
        driver.clock.advance(seconds=1)
        await driver.status(reference, status)
    assert len(await driver.announced(RefundRequested)) == 1
    assert await driver.balances() == {"cash": 49500, "refund_liability": -49500}


async def test_a_copy_of_the_provider_that_lags_behind_loses_no_money(driver, monkeypatch):
    order, reference = await driver.buy(await driver.sell())
    driver.sandbox.payment(reference)["plan"] = []
    fetch = driver.provider.fetch_payment

    async def behind(reference):
        return replace(await fetch(reference), status=ProviderStatus.INITIATED, word="initiated")

    driver.clock.advance(minutes=5)
    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "fetch_payment", behind)
        await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.announced(PaymentReversed) == []
    with monkeypatch.context() as patch:  # no copy lags behind for so long: so it is
        patch.setattr(driver.provider, "fetch_payment", behind)
        driver.clock.advance(hours=2)
        await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "reversed"


async def test_a_second_payment_in_the_session_of_a_declined_card_is_found(driver):
    """Whose callbacks are lost."""
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    first = await driver.pay(session_id, first_name="SANDBOX_TO_CANCEL_STATUS")
    driver.clock.advance(seconds=1)
    await driver.status(first["payment_id"], "failed")
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    driver.sandbox.session(session_id)["status"] = "open"
    await driver.pay(session_id)
    await driver.later(minutes=6)
    await driver.run(find_payments)
    assert (await driver.read(order))["status"] == "paid"
    attempts = await driver.session.scalars(select(CheckoutAttempt.ask_at).execution_options(populate_existing=True))
    assert attempts.all() == [None]


async def test_the_session_of_a_declined_card_is_looked_at_until_it_ends(driver):
    order = await driver.order(await driver.sell())
    first = await driver.pay(await driver.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    driver.clock.advance(seconds=1)
    await driver.status(first["payment_id"], "failed")
    for _ in range(4):
        await driver.later(hours=1)
        await driver.run(find_payments)
    attempts = await driver.session.scalars(select(CheckoutAttempt.ask_at).execution_options(populate_existing=True))
    assert attempts.all() == [None]


async def test_a_callback_does_not_put_off_what_the_provider_is_to_be_asked(driver):
    """It was paid out and taken back; of that we learn late, and before an older callback."""
    order, reference = await driver.buy(await driver.sell())
    driver.sandbox.payment(reference)["plan"] = []
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    for status in ("delivered", "reversed"):
        driver.clock.advance(seconds=1)
        await driver.status(reference, status)
    paid_out, taken_back = [one["body"].encode() for one in driver.sandbox.books.all("delivery")]
    driver.clock.advance(minutes=3)
    driver.sandbox.payment(reference)["status"] = "delivered"
    await driver.run(ask_about_payments)  # whose answer comes later than both
    driver.sandbox.payment(reference)["status"] = "reversed"
    assert (await driver.callback(taken_back)).json()["outcome"] == "asking"
    assert (await driver.callback(paid_out)).json()["outcome"] == "known"
    await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "reversed"
    assert await driver.balances() == {}
