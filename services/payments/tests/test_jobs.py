"""What payments does by itself besides the acceptance cases, and what its database refuses."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from payments.jobs import ask_about_payments, find_payments, forget_bodies, submit_refunds
from payments.tables import CheckoutAttempt, Confirmation, Entry, Notification, Payment, RejectedNotification
from shared.messaging.tables import SetAside


async def test_an_abandoned_checkout_is_asked_about_until_eight_days_after_its_order_expired(driver):
    order = await driver.order(await driver.sell())
    await driver.open_session(order)
    attempt = await driver.session.scalar(select(CheckoutAttempt))
    placed, asked = driver.clock(), []
    while attempt.ask_at is not None:
        driver.clock.at = attempt.ask_at
        asked.append((driver.clock.at - placed) / timedelta(minutes=1))
        await driver.run(find_payments)
        await driver.session.refresh(attempt)
        if len(asked) == 8:
            driver.clock.at = placed + timedelta(days=9) - timedelta(minutes=90)
            attempt.ask_at = driver.clock.at
            await driver.session.flush()
    assert asked[:8] == [2, 5, 15, 60, 120, 180, 240, 300]
    assert asked[-1] == 9 * 24 * 60 - 30


async def test_while_the_provider_is_away_questions_stay_due(driver, monkeypatch):
    order, _ = await driver.buy(await driver.sell())
    payment = await driver.session.scalar(select(Payment))
    driver.sandbox._agenda.clear()
    driver.clock.advance(minutes=3)
    due = payment.ask_at

    async def away(scope, receive, send):
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "app", away)
        await driver.run(ask_about_payments, find_payments)
    await driver.session.refresh(payment)
    assert payment.ask_at == due <= driver.clock()
    assert (await driver.read(order))["status"] == "paid"


async def test_a_payment_the_provider_does_not_know_is_asked_about_later_and_changes_nothing(driver):
    order, reference = await driver.buy(await driver.sell())
    driver.sandbox.books.remove("payment", reference)
    driver.sandbox._agenda.clear()
    driver.clock.advance(minutes=3)
    await driver.run(ask_about_payments)
    payment = await driver.session.scalar(select(Payment).execution_options(populate_existing=True))
    assert payment.state == "confirmed"
    aside = await driver.session.scalar(select(SetAside))
    assert (aside.job, aside.row_key, aside.due_at > driver.clock()) == (
        "ask_about_payments",
        str(payment.payment_id),
        True,
    )
    assert (await driver.read(order))["status"] == "paid"


async def test_raw_callbacks_and_rejections_are_forgotten_in_time(driver):
    await driver.buy(await driver.sell())
    driver.sandbox._agenda.clear()
    async with driver.service.client() as client:
        await client.post("/v1/payment-notifications", content=b"unsigned")
    driver.clock.advance(days=31)
    await driver.run(forget_bodies)
    assert (await driver.session.scalars(select(RejectedNotification))).all() == []
    assert all(body for body in await driver.session.scalars(select(Notification.body)))
    driver.clock.advance(days=370)
    await driver.run(forget_bodies)
    bodies = (await driver.session.scalars(select(Notification.body))).all()
    assert bodies
    assert not any(bodies)


@pytest.mark.parametrize(
    "statement",
    [
        "update ledger_entries set amount_minor = 0",
        "delete from ledger_entries",
        "update ledger_postings set kind = 'x'",
        "truncate ledger_postings cascade",
    ],
)
async def test_nothing_in_the_ledger_is_changed(driver, statement):
    await driver.buy(await driver.sell())
    await driver.session.execute(text("set constraints all immediate"))
    with pytest.raises(DBAPIError, match="append-only"):
        await driver.session.execute(text(statement))


async def test_a_posting_that_does_not_balance_is_not_committed(driver):
    await driver.buy(await driver.sell())
    number = await driver.session.scalar(select(Entry.posting_no).limit(1))
    await driver.session.execute(insert(Entry).values(posting_no=number, account="cash", amount_minor=1))
    with pytest.raises(DBAPIError, match="does not add up"):
        await driver.session.execute(text("set constraints all immediate"))


async def test_an_order_is_confirmed_once_whatever_the_code_does(driver):
    order, _ = await driver.buy(await driver.sell())
    other, _ = await driver.buy(await driver.sell())
    second = await driver.session.scalar(select(Payment.payment_id).where(Payment.order_id == other["order_id"]))
    with pytest.raises(IntegrityError, match="pk_order_confirmations"):
        await driver.session.execute(
            insert(Confirmation).values(order_id=order["order_id"], payment_id=second, confirmed_at=driver.clock())
        )


async def test_the_books_of_a_whole_life_balance_account_by_account(driver):
    order, _ = await driver.buy(await driver.sell(), await driver.sell(59500))
    await driver.refund(order)
    for _ in range(2):
        await driver.later(seconds=1)
    await driver.run(submit_refunds)
    for _ in range(2):
        await driver.later(seconds=1)
    rows = await driver.session.execute(
        text(
            "select account, sum(amount_minor)::bigint from ledger_entries "
            "group by account having sum(amount_minor) <> 0"
        )
    )
    assert dict(rows.all()) == {"cash": 59500, "sales": -59500}
