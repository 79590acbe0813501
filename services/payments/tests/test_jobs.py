"""What payments does by itself besides the acceptance cases, and what its database refuses."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from payments.jobs import ask_about_payments, find_payments, forget_bodies, submit_refunds
from payments.tables import CheckoutAttempt, Confirmation, Entry, Notification, Payment, RejectedNotification
from shared.messaging.tables import SetAside


async def test_an_abandoned_checkout_is_asked_about_until_eight_days_after_its_order_expired(shop):
    order = await shop.order(await shop.sell())
    await shop.open_session(order)
    attempt = await shop.session.scalar(select(CheckoutAttempt))
    placed, asked = shop.clock(), []
    while attempt.ask_at is not None:
        shop.clock.at = attempt.ask_at
        asked.append((shop.clock.at - placed) / timedelta(minutes=1))
        await shop.run(find_payments)
        await shop.session.refresh(attempt)
        if len(asked) == 8:
            shop.clock.at = placed + timedelta(days=9) - timedelta(minutes=90)
            attempt.ask_at = shop.clock.at
            await shop.session.flush()
    assert asked[:8] == [2, 5, 15, 60, 120, 180, 240, 300]
    assert asked[-1] == 9 * 24 * 60 - 30


async def test_while_the_provider_is_away_questions_stay_due(shop, monkeypatch):
    order, _ = await shop.buy(await shop.sell())
    payment = await shop.session.scalar(select(Payment))
    shop.sandbox._agenda.clear()
    shop.clock.advance(minutes=3)
    due = payment.ask_at

    async def away(scope, receive, send):
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "app", away)
        await shop.run(ask_about_payments, find_payments)
    await shop.session.refresh(payment)
    assert payment.ask_at == due <= shop.clock()
    assert (await shop.read(order))["status"] == "paid"


async def test_a_payment_the_provider_does_not_know_is_asked_about_later_and_changes_nothing(shop):
    order, reference = await shop.buy(await shop.sell())
    shop.sandbox.books.remove("payment", reference)
    shop.sandbox._agenda.clear()
    shop.clock.advance(minutes=3)
    await shop.run(ask_about_payments)
    payment = await shop.session.scalar(select(Payment).execution_options(populate_existing=True))
    assert payment.state == "confirmed"
    aside = await shop.session.scalar(select(SetAside))
    assert (aside.job, aside.row_key, aside.due_at > shop.clock()) == (
        "ask_about_payments",
        str(payment.payment_id),
        True,
    )
    assert (await shop.read(order))["status"] == "paid"


async def test_raw_callbacks_and_rejections_are_forgotten_in_time(shop):
    await shop.buy(await shop.sell())
    shop.sandbox._agenda.clear()
    async with shop.service.client() as client:
        await client.post("/v1/payment-notifications", content=b"unsigned")
    shop.clock.advance(days=31)
    await shop.run(forget_bodies)
    assert (await shop.session.scalars(select(RejectedNotification))).all() == []
    assert all(body for body in await shop.session.scalars(select(Notification.body)))
    shop.clock.advance(days=370)
    await shop.run(forget_bodies)
    bodies = (await shop.session.scalars(select(Notification.body))).all()
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
async def test_nothing_in_the_ledger_is_changed(shop, statement):
    await shop.buy(await shop.sell())
    await shop.session.execute(text("set constraints all immediate"))
    with pytest.raises(DBAPIError, match="append-only"):
        await shop.session.execute(text(statement))


async def test_a_posting_that_does_not_balance_is_not_committed(shop):
    await shop.buy(await shop.sell())
    number = await shop.session.scalar(select(Entry.posting_no).limit(1))
    await shop.session.execute(insert(Entry).values(posting_no=number, account="cash", amount_minor=1))
    with pytest.raises(DBAPIError, match="does not add up"):
        await shop.session.execute(text("set constraints all immediate"))


async def test_an_order_is_confirmed_once_whatever_the_code_does(shop):
    order, _ = await shop.buy(await shop.sell())
    other, _ = await shop.buy(await shop.sell())
    second = await shop.session.scalar(select(Payment.payment_id).where(Payment.order_id == other["order_id"]))
    with pytest.raises(IntegrityError, match="pk_order_confirmations"):
        await shop.session.execute(
            insert(Confirmation).values(order_id=order["order_id"], payment_id=second, confirmed_at=shop.clock())
        )


async def test_the_books_of_a_whole_life_balance_account_by_account(shop):
    order, _ = await shop.buy(await shop.sell(), await shop.sell(59500))
    await shop.refund(order)
    for _ in range(2):
        await shop.later(seconds=1)
    await shop.run(submit_refunds)
    for _ in range(2):
        await shop.later(seconds=1)
    rows = await shop.session.execute(
        text(
            "select account, sum(amount_minor)::bigint from ledger_entries "
            "group by account having sum(amount_minor) <> 0"
        )
    )
    assert dict(rows.all()) == {"cash": 59500, "sales": -59500}
