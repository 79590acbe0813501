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


async def dispute_and_lose(shop, order):
    async with shop.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "other", "case_reference": "CB-9"}
        case = (await finance.post("/v1/disputes", json=body)).json()
        await finance.post(f"/v1/disputes/{case['dispute_id']}/closing", json={"outcome": "lost"})


async def test_what_the_bank_took_is_not_back_by_way_of_a_payment_that_begins_anew(shop):
    order, reference = await shop.buy(await shop.sell())
    await dispute_and_lose(shop, order)
    for status in ("cancelled", "initiated", "guaranteed", "delivered"):
        shop.clock.advance(seconds=1)
        await shop.status(reference, status)
    assert (await shop.read(order))["status"] == "reversed"
    assert await shop.announced(PaymentRestored) == []
    assert await shop.balances() == {}


async def test_lost_money_that_is_on_its_way_again_is_not_owed_until_it_is_there(shop):
    order, reference = await shop.buy(await shop.sell())
    for status in ("cancelled", "initiated"):
        shop.clock.advance(seconds=1)
        await shop.status(reference, status)
    line = order["lines"][0]
    refused = ActivationRefused(
        order_id=UUID(order["order_id"]),
        order_line_id=UUID(line["order_line_id"]),
        course_id=UUID(line["course_id"]),
        learner_id=shop.learner_id,
        reason_code="not_registered",
        refused_at=shop.clock(),
    )
    async with shop.service.process.database.transaction() as session:
        await inbox.receive(session, refused)
    assert await shop.announced(RefundRequested) == []
    shop.clock.advance(seconds=1)
    await shop.status(reference, "cancelled")
    [shown] = (await shop.read(order))["payments"]
    assert shown["status"] == "lost"
    assert await shop.announced(PaymentFailed) == []
    for status in ("processed", "guaranteed", "delivered"):
        shop.clock.advance(seconds=1)
        await shop.status(reference, status)
    assert len(await shop.announced(RefundRequested)) == 1
    assert await shop.balances() == {"cash": 49500, "refund_liability": -49500}


async def test_a_copy_of_the_provider_that_lags_behind_loses_no_money(shop, monkeypatch):
    order, reference = await shop.buy(await shop.sell())
    shop.sandbox.payment(reference)["plan"] = []
    fetch = shop.provider.fetch_payment

    async def behind(reference):
        return replace(await fetch(reference), status=ProviderStatus.INITIATED, word="initiated")

    shop.clock.advance(minutes=5)
    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "fetch_payment", behind)
        await shop.run(ask_about_payments)
    assert (await shop.read(order))["status"] == "paid"
    assert await shop.announced(PaymentReversed) == []
    with monkeypatch.context() as patch:  # no copy lags behind for so long: so it is
        patch.setattr(shop.provider, "fetch_payment", behind)
        shop.clock.advance(hours=2)
        await shop.run(ask_about_payments)
    assert (await shop.read(order))["status"] == "reversed"


async def test_a_second_payment_in_the_session_of_a_declined_card_is_found(shop):
    """Whose callbacks are lost."""
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    first = await shop.pay(session_id, first_name="SANDBOX_TO_CANCEL_STATUS")
    shop.clock.advance(seconds=1)
    await shop.status(first["payment_id"], "failed")
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    shop.sandbox.session(session_id)["status"] = "open"
    await shop.pay(session_id)
    await shop.later(minutes=6)
    await shop.run(find_payments)
    assert (await shop.read(order))["status"] == "paid"
    attempts = await shop.session.scalars(select(CheckoutAttempt.ask_at).execution_options(populate_existing=True))
    assert attempts.all() == [None]


async def test_the_session_of_a_declined_card_is_looked_at_until_it_ends(shop):
    order = await shop.order(await shop.sell())
    first = await shop.pay(await shop.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    shop.clock.advance(seconds=1)
    await shop.status(first["payment_id"], "failed")
    for _ in range(4):
        await shop.later(hours=1)
        await shop.run(find_payments)
    attempts = await shop.session.scalars(select(CheckoutAttempt.ask_at).execution_options(populate_existing=True))
    assert attempts.all() == [None]


async def test_a_callback_does_not_put_off_what_the_provider_is_to_be_asked(shop):
    """It was paid out and taken back; of that we learn late, and before an older callback."""
    order, reference = await shop.buy(await shop.sell())
    shop.sandbox.payment(reference)["plan"] = []
    await shop.control.put("/control/callbacks", json={"mode": "hold"})
    for status in ("delivered", "reversed"):
        shop.clock.advance(seconds=1)
        await shop.status(reference, status)
    paid_out, taken_back = [one["body"].encode() for one in shop.sandbox.books.all("delivery")]
    shop.clock.advance(minutes=3)
    shop.sandbox.payment(reference)["status"] = "delivered"
    await shop.run(ask_about_payments)  # whose answer comes later than both
    shop.sandbox.payment(reference)["status"] = "reversed"
    assert (await shop.callback(taken_back)).json()["outcome"] == "asking"
    assert (await shop.callback(paid_out)).json()["outcome"] == "known"
    await shop.run(ask_about_payments)
    assert (await shop.read(order))["status"] == "reversed"
    assert await shop.balances() == {}
