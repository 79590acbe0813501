"""Payments that are odd: of nothing, too little and lost, another sum than before, in words nobody knows."""

import json

import pytest
from sqlalchemy import select, text

from payments.jobs import (
    ask_about_payments,
    expire_orders,
    find_payments,
    follow_refunds,
    return_underpaid,
    submit_refunds,
)
from payments.tables import Payment
from shared.events.enrolment import ActivationRefused
from shared.events.payments import (
    AmountMismatch,
    PaymentConfirmed,
    PaymentRestored,
    RefundRequested,
)
from shared.messaging.tables import SetAside

# Nothing, and too little


async def test_a_payment_of_nothing_holds_up_nobody(shop):
    """Its order can be left, and what others paid too little goes back."""
    nothing = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(nothing), amount=0)
    assert (await shop.read(nothing))["status"] == "placed"
    assert (await shop.unmatched())["nothing_paid"].order_id is not None
    too_little = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(too_little), amount=100)
    await shop.later(days=15)
    await shop.run(return_underpaid)
    assert [one.amount_minor for one in await shop.announced(RefundRequested)] == [100]
    assert (await shop.read(too_little))["status"] == "expired"


async def test_an_order_with_a_payment_of_nothing_can_be_left(shop):
    order = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(order), amount=0)
    assert (await shop.cancel(order)).status_code == 200
    assert await shop.balances() == {}


async def test_one_bad_row_does_not_keep_the_money_of_the_others(shop, monkeypatch):
    orders = [await shop.order(await shop.sell()) for _ in range(3)]
    for order in orders:
        await shop.pay(await shop.open_session(order), amount=100)
    await shop.later(days=15)
    give_up = "payments.commands.underpayment.return_money"

    async def refuse_the_second(session, order, *rest):
        if str(order.order_id) == orders[1]["order_id"]:
            await session.execute(text("select 1 / 0"))
        return await returned(session, order, *rest)

    from payments.commands.underpayment import return_money as returned

    with monkeypatch.context() as patch:
        patch.setattr(give_up, refuse_the_second)
        await shop.run(return_underpaid)
    assert [(await shop.read(order))["status"] for order in orders] == ["expired", "underpaid", "expired"]
    assert (await shop.session.scalar(select(SetAside.job))) == "return_underpaid"
    await shop.later(hours=1)
    await shop.run(return_underpaid)
    assert (await shop.read(orders[1]))["status"] == "expired"


async def test_of_two_that_were_too_little_the_one_that_stays_goes_back(shop):
    order = await shop.order(await shop.sell())
    first = await shop.pay(await shop.open_session(order), amount=10000)
    second = await shop.pay(await shop.open_session(order), amount=20000)
    for payment in (first, second):
        await shop.deliver(payment["payment_id"])
    shop.clock.advance(hours=1)
    await shop.status(first["payment_id"], "reversed")
    assert (await shop.read(order))["status"] == "underpaid"
    await rest(shop)
    assert await shop.balances() == {}
    assert [one["status"] for one in shop.sandbox.refunds(second["payment_id"])] == ["finished"]


@pytest.mark.parametrize("leaves", [False, True])
async def test_too_little_that_was_lost_and_comes_back_goes_back(shop, leaves):
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), amount=10000)
    reference = payment["payment_id"]
    shop.clock.advance(hours=1)
    await shop.status(reference, "cancelled")
    assert (await shop.read(order))["status"] == "placed"
    if leaves:
        await shop.cancel(order)
    shop.clock.advance(hours=1)
    await shop.status(reference, "processed")
    assert (await shop.read(order))["status"] == ("cancelled" if leaves else "underpaid")
    await shop.deliver(reference)
    await rest(shop)
    assert await shop.balances() == {}
    assert [one["status"] for one in shop.sandbox.refunds(reference)] == ["finished"]


async def rest(shop, days=40):
    """Everything that time does: received, asked, expired, returned."""
    for _ in range(days // 5):
        await shop.later(days=5)
        await shop.run(expire_orders, return_underpaid, ask_about_payments, find_payments, submit_refunds)
        for _ in range(2):
            await shop.later(minutes=5)
        await shop.run(follow_refunds)


# Another sum, and money the bank took


async def test_an_amount_that_changes_after_it_was_used_is_for_finance_and_not_for_the_books(shop):
    _, reference = await shop.buy(await shop.sell())
    shop.sandbox.payment(reference)["amount_to"] = 100
    await shop.deliver(reference)
    assert await shop.balances() == {"cash": 49500, "sales": -49500}
    [mismatch, *_] = await shop.announced(AmountMismatch)
    assert (mismatch.expected_minor, mismatch.received_minor) == (49500, 100)
    row = (await shop.unmatched())["amount_changed"]
    assert (row.amount_minor, row.payment_id is not None) == (100, True)
    shop.clock.advance(hours=1)
    await shop.status(reference, "reversed")
    assert await shop.balances() == {}


async def test_what_the_bank_took_is_not_back_because_the_provider_goes_on(shop):
    order, reference = await shop.buy(await shop.sell())
    shop.clock.advance(seconds=1)
    await shop.status(reference, "guaranteed")
    async with shop.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "not_recognised", "case_reference": "CB-17"}
        case = (await finance.post("/v1/disputes", json=body)).json()
        await finance.post(f"/v1/disputes/{case['dispute_id']}/closing", json={"outcome": "lost"})
    shop.clock.advance(days=1)
    await shop.status(reference, "delivered")
    assert (await shop.read(order))["status"] == "reversed"
    assert await shop.announced(PaymentRestored) == []
    assert await shop.balances() == {}
    assert (await shop.unmatched())["paid_after_lost_dispute"].order_id is not None


async def test_a_refund_that_is_paid_after_the_money_was_lost_is_a_loss_and_shown(shop):
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    await shop.run(submit_refunds)
    shop.clock.advance(seconds=0.2)
    await shop.status(reference, "reversed")
    for _ in range(2):
        await shop.later(seconds=1)
    assert [one["status"] for one in shop.sandbox.refunds(reference)] == ["finished"]
    assert await shop.balances() == {"cash": -49500, "losses": 49500}
    assert (await shop.unmatched())["paid_out_too_much"].amount_minor == 49500


async def test_a_line_that_cannot_be_given_after_the_money_was_lost_is_not_owed(shop):
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    shop.clock.advance(hours=1)
    await shop.status(reference, "reversed")
    [line] = order["lines"]
    await shop.consume(
        ActivationRefused(
            order_id=order["order_id"],
            order_line_id=line["order_line_id"],
            course_id=line["course_id"],
            learner_id=shop.learner_id,
            reason_code="already_enrolled",
            refused_at=shop.clock(),
        )
    )
    assert await shop.balances() == {}
    assert await shop.announced(RefundRequested) == []
    assert (await shop.read(order))["lines"][0]["refund"]["status"] == "cancelled"


# Words nobody knows


@pytest.mark.parametrize("word", ["charged", "on hold", "PROCESSED"])
async def test_a_word_we_do_not_know_is_not_known_yet(shop, word):
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    shop.sandbox.payment(payment["payment_id"])["plan"] = []
    shop.clock.advance(seconds=1)
    await shop.status(payment["payment_id"], word)
    row = (await shop.unmatched())["unknown_status"]
    assert (row.provider_status, row.amount_minor, str(row.order_id)) == (word, 49500, order["order_id"])
    [shown] = (await shop.read(order))["payments"]
    assert shown["status"] == "under_way"
    await shop.later(minutes=3)
    await shop.run(ask_about_payments)  # the same word again
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    await shop.status(payment["payment_id"], "guaranteed")
    await shop.later(hours=1)
    await shop.run(ask_about_payments)
    assert (await shop.read(order))["status"] == "paid"
    assert len(await shop.announced(PaymentConfirmed)) == 1


async def test_a_payment_first_reported_in_a_word_we_do_not_know_is_found_later(shop):
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    payment = await shop.pay(session_id, first_name="SANDBOX_TO_CANCEL_STATUS")
    shop.sandbox.payment(payment["payment_id"])["plan"] = []
    await shop.status(payment["payment_id"], "charged")
    await shop.later(minutes=3)
    await shop.run(find_payments)
    assert (await shop.checkout(order)).json()["code"] == "payment_under_way"
    await shop.status(payment["payment_id"], "guaranteed")
    await shop.later(hours=2)
    await shop.run(ask_about_payments)
    assert (await shop.read(order))["status"] == "paid"


async def test_a_callback_that_cannot_be_read_has_its_payment_asked_about(shop):
    order, reference = await shop.buy(await shop.sell())
    event = {
        "event_type": "guaranteed",
        "event_date": shop.clock().isoformat(),
        "event_resource": "payments",
        "data": {"payment_id": reference, "status": "guaranteed", "amount_to": "495.00", "currency_to": "GBP"},
    }
    answer = await shop.callback(json.dumps(event).encode())
    assert (answer.status_code, answer.json()["outcome"]) == (200, "asking")
    row = (await shop.unmatched())["not_understood"]
    assert (row.reference, str(row.order_id)) == (reference, order["order_id"])
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    await shop.status(reference, "delivered")
    await shop.run(ask_about_payments)
    payment = await shop.session.scalar(select(Payment).execution_options(populate_existing=True))
    assert payment.state == "settled"


async def test_an_answer_that_cannot_be_read_is_asked_for_again(shop, monkeypatch):
    order = await shop.order(await shop.sell())
    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "app", garbled(shop.provider.app))
        answer = await shop.checkout(order)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    [session] = shop.sandbox.books.all("session")
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    await shop.pay(session["id"])
    await shop.later(minutes=2)
    await shop.run(find_payments)
    assert (await shop.read(order))["status"] == "paid"


def garbled(app):
    """The provider as it is, whose answers are another shape than we know."""

    async def answer(scope, receive, send):
        async def other(message):
            if message["type"] == "http.response.body":
                message = message | {"body": b'{"surprise": true}'}
            elif message["type"] == "http.response.start":
                message = message | {"headers": [(b"content-type", b"application/json")]}
            await send(message)

        await app(scope, receive, other)

    return answer


async def test_one_sick_session_does_not_keep_the_poller_from_the_others(shop, monkeypatch):
    orders = [await shop.order(await shop.sell()) for _ in range(3)]
    sessions = [await shop.open_session(order) for order in orders]
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    for session_id in sessions:
        await shop.pay(session_id)
    await shop.later(minutes=2)
    app = shop.provider.app

    async def sick(scope, receive, send):
        if sessions[0] in scope["path"]:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "app", sick)
        await shop.run(find_payments)
    assert [(await shop.read(order))["status"] for order in orders] == ["placed", "paid", "paid"]
    await shop.later(minutes=1)
    await shop.run(find_payments)
    assert (await shop.read(orders[0]))["status"] == "paid"
