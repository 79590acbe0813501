"""Payments that are odd: of nothing, too little and lost, another sum than before, in words nobody knows."""

import json

import pytest
from sqlalchemy import select, text

from payments.jobs import (
    ask_about_payments,
    compare_with_provider,
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


async def test_a_payment_of_nothing_holds_up_nobody(driver):
    """Its order can be left, and what others paid too little goes back."""
    nothing = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(nothing), amount=0)
    assert (await driver.read(nothing))["status"] == "placed"
    assert (await driver.unmatched())["nothing_paid"].order_id is not None
    too_little = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(too_little), amount=100)
    await driver.later(days=15)
    await driver.run(return_underpaid)
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [100]
    assert (await driver.read(too_little))["status"] == "expired"


async def test_an_order_with_a_payment_of_nothing_can_be_left(driver):
    order = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(order), amount=0)
    assert (await driver.cancel(order)).status_code == 200
    assert await driver.balances() == {}


async def test_one_bad_row_does_not_keep_the_money_of_the_others(driver, monkeypatch):
    orders = [await driver.order(await driver.sell()) for _ in range(3)]
    for order in orders:
        await driver.pay(await driver.open_session(order), amount=100)
    await driver.later(days=15)
    give_up = "payments.commands.underpayment.return_money"

    async def refuse_the_second(session, order, *rest):
        if str(order.order_id) == orders[1]["order_id"]:
            await session.execute(text("select 1 / 0"))
        return await returned(session, order, *rest)

    from payments.commands.underpayment import return_money as returned

    with monkeypatch.context() as patch:
        patch.setattr(give_up, refuse_the_second)
        await driver.run(return_underpaid)
    assert [(await driver.read(order))["status"] for order in orders] == ["expired", "underpaid", "expired"]
    assert (await driver.session.scalar(select(SetAside.job))) == "return_underpaid"
    await driver.later(hours=1)
    await driver.run(return_underpaid)
    assert (await driver.read(orders[1]))["status"] == "expired"


async def test_of_two_that_were_too_little_the_one_that_stays_goes_back(driver):
    order = await driver.order(await driver.sell())
    first = await driver.pay(await driver.open_session(order), amount=10000)
    second = await driver.pay(await driver.open_session(order), amount=20000)
    for payment in (first, second):
        await driver.deliver(payment["payment_id"])
    driver.clock.advance(hours=1)
    await driver.status(first["payment_id"], "reversed")
    assert (await driver.read(order))["status"] == "underpaid"
    await rest(driver)
    assert await driver.balances() == {}
    assert [one["status"] for one in driver.sandbox.refunds(second["payment_id"])] == ["finished"]


@pytest.mark.parametrize("leaves", [False, True])
async def test_too_little_that_was_lost_and_comes_back_goes_back(driver, leaves):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), amount=10000)
    reference = payment["payment_id"]
    driver.clock.advance(hours=1)
    await driver.status(reference, "cancelled")
    assert (await driver.read(order))["status"] == "placed"
    if leaves:
        await driver.cancel(order)
    driver.clock.advance(hours=1)
    await driver.status(reference, "processed")
    assert (await driver.read(order))["status"] == ("cancelled" if leaves else "underpaid")
    await driver.deliver(reference)
    await rest(driver)
    assert await driver.balances() == {}
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]


async def rest(driver, days=40):
    """Everything that time does: received, asked, expired, returned."""
    for _ in range(days // 5):
        await driver.later(days=5)
        await driver.run(expire_orders, return_underpaid, ask_about_payments, find_payments, submit_refunds)
        for _ in range(2):
            await driver.later(minutes=5)
        await driver.run(follow_refunds)


# Another sum, and money the bank took


async def test_an_amount_that_changes_after_it_was_used_is_for_finance_and_not_for_the_books(driver):
    _, reference = await driver.buy(await driver.sell())
    driver.sandbox.payment(reference)["amount_to"] = 100
    await driver.deliver(reference)
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    [mismatch, *_] = await driver.announced(AmountMismatch)
    assert (mismatch.expected_minor, mismatch.received_minor) == (49500, 100)
    row = (await driver.unmatched())["amount_changed"]
    assert (row.amount_minor, row.payment_id is not None) == (100, True)
    driver.clock.advance(hours=1)
    await driver.status(reference, "reversed")
    assert await driver.balances() == {}


async def test_what_the_bank_took_is_not_back_because_the_provider_goes_on(driver):
    order, reference = await driver.buy(await driver.sell())
    driver.clock.advance(seconds=1)
    await driver.status(reference, "guaranteed")
    async with driver.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "not_recognised", "case_reference": "CB-17"}
        case = (await finance.post("/v1/disputes", json=body)).json()
        await finance.post(f"/v1/disputes/{case['dispute_id']}/closing", json={"outcome": "lost"})
    driver.clock.advance(days=1)
    await driver.status(reference, "delivered")
    assert (await driver.read(order))["status"] == "reversed"
    assert await driver.announced(PaymentRestored) == []
    assert await driver.balances() == {}
    assert (await driver.unmatched())["paid_after_lost_dispute"].order_id is not None


async def test_a_refund_that_is_paid_after_the_money_was_lost_is_a_loss_and_shown(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await driver.run(submit_refunds)
    driver.clock.advance(seconds=0.2)
    await driver.status(reference, "reversed")
    for _ in range(2):
        await driver.later(seconds=1)
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]
    assert await driver.balances() == {"cash": -49500, "losses": 49500}
    assert (await driver.unmatched())["paid_out_too_much"].amount_minor == 49500


async def test_a_line_that_cannot_be_given_after_the_money_was_lost_is_not_owed(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    driver.clock.advance(hours=1)
    await driver.status(reference, "reversed")
    [line] = order["lines"]
    await driver.consume(
        ActivationRefused(
            order_id=order["order_id"],
            order_line_id=line["order_line_id"],
            course_id=line["course_id"],
            learner_id=driver.learner_id,
            reason_code="already_enrolled",
            refused_at=driver.clock(),
        )
    )
    assert await driver.balances() == {}
    assert await driver.announced(RefundRequested) == []
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "cancelled"


# Words nobody knows


@pytest.mark.parametrize("word", ["charged", "on hold", "PROCESSED"])
async def test_a_word_we_do_not_know_is_not_known_yet(driver, word):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    driver.sandbox.payment(payment["payment_id"])["plan"] = []
    driver.clock.advance(seconds=1)
    await driver.status(payment["payment_id"], word)
    row = (await driver.unmatched())["unknown_status"]
    assert (row.provider_status, row.amount_minor, str(row.order_id)) == (word, 49500, order["order_id"])
    [shown] = (await driver.read(order))["payments"]
    assert shown["status"] == "under_way"
    await driver.later(minutes=3)
    await driver.run(ask_about_payments)  # the same word again
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    await driver.status(payment["payment_id"], "guaranteed")
    await driver.later(hours=1)
    await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1


async def test_a_payment_first_reported_in_a_word_we_do_not_know_is_found_later(driver):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    payment = await driver.pay(session_id, first_name="SANDBOX_TO_CANCEL_STATUS")
    driver.sandbox.payment(payment["payment_id"])["plan"] = []
    await driver.status(payment["payment_id"], "charged")
    await driver.later(minutes=3)
    await driver.run(find_payments)
    assert (await driver.checkout(order)).json()["code"] == "payment_under_way"
    await driver.status(payment["payment_id"], "guaranteed")
    await driver.later(hours=2)
    await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "paid"


async def test_a_callback_that_cannot_be_read_has_its_payment_asked_about(driver):
    order, reference = await driver.buy(await driver.sell())
    event = {
        "event_type": "guaranteed",
        "event_date": driver.clock().isoformat(),
        "event_resource": "payments",
        "data": {"payment_id": reference, "status": "guaranteed", "amount_to": "495.00", "currency_to": "GBP"},
    }
    answer = await driver.callback(json.dumps(event).encode())
    assert (answer.status_code, answer.json()["outcome"]) == (200, "asking")
    row = (await driver.unmatched())["not_understood"]
    assert (row.reference, str(row.order_id)) == (reference, order["order_id"])
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    await driver.status(reference, "delivered")
    await driver.run(ask_about_payments)
    payment = await driver.session.scalar(select(Payment).execution_options(populate_existing=True))
    assert payment.state == "settled"


async def test_an_answer_that_cannot_be_read_is_asked_for_again(driver, monkeypatch):
    order = await driver.order(await driver.sell())
    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "app", garbled(driver.provider.app))
        answer = await driver.checkout(order)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    [session] = driver.sandbox.books.all("session")
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    await driver.pay(session["id"])
    await driver.later(minutes=2)
    await driver.run(find_payments)
    assert (await driver.read(order))["status"] == "paid"


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


async def test_one_sick_session_does_not_keep_the_poller_from_the_others(driver, monkeypatch):
    orders = [await driver.order(await driver.sell()) for _ in range(3)]
    sessions = [await driver.open_session(order) for order in orders]
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    for session_id in sessions:
        await driver.pay(session_id)
    await driver.later(minutes=2)
    app = driver.provider.app

    async def sick(scope, receive, send):
        if sessions[0] in scope["path"]:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "app", sick)
        await driver.run(find_payments)
    assert [(await driver.read(order))["status"] for order in orders] == ["placed", "paid", "paid"]
    await driver.later(minutes=1)
    await driver.run(find_payments)
    assert (await driver.read(orders[0]))["status"] == "paid"


@pytest.mark.parametrize("end", ["infinity", "-infinity", "9999-12-31T23:59:59Z"])
async def test_an_instant_at_the_end_of_the_calendar_stops_no_job_no_callback_and_no_list(driver, end):
    """An order, its checkout, payments and comparison with nothing but such instants, beside one that is well."""
    odd, reference = await driver.buy(await driver.sell())
    unpaid = await driver.order(await driver.sell())
    session_id = await driver.open_session(unpaid)
    well, _ = await driver.buy(await driver.sell())
    await driver.run(compare_with_provider)
    stored = {
        "orders": ["paid_at", "expires_at"],
        "order_lines": ["access_at"],
        "payments": ["status_at", "seen_at", "funded_at"],
        "comparisons": ["began_at"],
    }
    for table, columns in stored.items():
        is_odd = "" if table == "comparisons" else f"where order_id = '{odd['order_id']}'"
        to_the_end = ", ".join(f"{column} = '{end}'" for column in columns)
        await driver.session.execute(text(f"update {table} set {to_the_end} {is_odd}"))
    await driver.session.execute(
        text(f"update orders set expires_at = '{end}' where order_id = '{unpaid['order_id']}'")
    )
    await driver.session.execute(text("update installation set history_accepted_at = now()"))
    await driver.session.execute(text(f"update payments set ask_at = now() where order_id = '{odd['order_id']}'"))
    driver.session.expire_all()

    await driver.pay(session_id)
    await driver.deliver(reference)
    for job in (compare_with_provider, ask_about_payments, find_payments, return_underpaid, expire_orders):
        await driver.run(job)
    assert (await driver.session.scalars(select(SetAside.job))).all() == []
    async with driver.learner() as client:
        listed = (await client.get("/v1/orders")).json()
    assert {one["order_id"] for one in listed["items"]} == {one["order_id"] for one in (odd, unpaid, well)}
    assert listed["unreadable"] == 0
