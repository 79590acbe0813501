"""The acceptance cases of the payment rules, with exactly their results, and their neighbours."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select, update

from payments.adapters.flywire import sign
from payments.jobs import (
    ask_about_payments,
    close_checkouts,
    expire_orders,
    find_payments,
    return_underpaid,
)
from payments.tables import (
    CheckoutAttempt,
    Notification,
    Payment,
    Posting,
    RejectedNotification,
    UnmatchedPayment,
)
from shared.events.payments import (
    AmountMismatch,
    DuplicateDetected,
    OrderExpired,
    PaymentConfirmed,
    PaymentRestored,
    PaymentReversed,
    PaymentSettled,
    RefundRequested,
)
from shared.messaging.tables import QueuedEmail

VECTOR = Path(__file__).with_name("vector.json").read_bytes()


async def count(session, table) -> int:
    return await session.scalar(select(func.count()).select_from(table))


async def order_of_the_vector(driver):
    """An order of 49500 whose checkout carries the reference of the published test vector."""
    order = await driver.order(await driver.sell())
    await driver.open_session(order)
    if driver.session is not None:
        attempt = await driver.session.scalar(select(CheckoutAttempt))
        attempt.reference = "ord_01JBZ0000000000000000000"
        await driver.session.flush()
    else:
        async with driver.service.process.database.transaction() as session:
            (await session.scalar(select(CheckoutAttempt))).reference = "ord_01JBZ0000000000000000000"
    return order


async def test_m1_a_guaranteed_callback_confirms_the_order(driver):
    order = await order_of_the_vector(driver)
    answer = await driver.callback(VECTOR)
    assert (answer.status_code, answer.json()) == (200, {"outcome": "applied"})
    (confirmed,) = await driver.announced(PaymentConfirmed)
    assert str(confirmed.order_id) == order["order_id"]
    assert (confirmed.amount_minor, confirmed.currency) == (49500, "GBP")
    assert [line.due_minor for line in confirmed.lines] == [49500]
    assert (await driver.read(order))["status"] == "paid"
    emails = (await driver.session.scalars(select(QueuedEmail.kind))).all()
    assert emails == ["payment_confirmed"]


async def test_m2_the_same_callback_again_has_no_second_effect(live_driver):
    driver = live_driver
    order = await order_of_the_vector(driver)
    answers = await asyncio.gather(driver.callback(VECTOR), driver.callback(VECTOR))
    answers += [await driver.callback(VECTOR) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert sorted(answer.json()["outcome"] for answer in answers) == ["applied", *["duplicate"] * 5]
    assert len(await driver.announced(PaymentConfirmed)) == 1
    assert (await driver.read(order))["status"] == "paid"
    async with driver.service.process.database.transaction() as session:
        assert await count(session, QueuedEmail) == 1
        assert await count(session, Posting) == 1


async def test_m2_the_same_event_in_other_bytes_has_no_second_effect(driver):
    await order_of_the_vector(driver)
    await driver.callback(VECTOR)
    answer = await driver.callback(json.dumps(json.loads(VECTOR), indent=1).encode())
    assert (answer.status_code, answer.json()["outcome"]) == (200, "duplicate")
    assert len(await driver.announced(PaymentConfirmed)) == 1


async def test_m3_a_changed_byte_is_refused_and_only_the_rejection_is_recorded(driver):
    order = await order_of_the_vector(driver)
    body = VECTOR.replace(b'"49500"', b'"49501"')
    for _ in range(2):
        answer = await driver.callback(body, sign(VECTOR, b"shared-secret-for-tests"))
        assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
        assert answer.headers["content-type"] == "application/problem+json"
    (rejection,) = await driver.session.scalars(select(RejectedNotification).execution_options(populate_existing=True))
    assert (rejection.times, rejection.size) == (2, 242)
    for table in (Notification, Payment, UnmatchedPayment, Posting):
        assert await count(driver.session, table) == 0
    assert (await driver.read(order))["status"] == "placed"


async def test_a_secret_that_is_being_replaced_still_signs(driver):
    await order_of_the_vector(driver)
    assert (await driver.callback(VECTOR, sign(VECTOR, b"the-secret-before"))).json()["outcome"] == "applied"


async def test_a_callback_is_not_read_beyond_its_cap(driver):
    answer = await driver.callback(b"x" * (64 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "notification_too_large")


async def test_an_unknown_reference_is_answered_200_and_kept(driver):
    answer = await driver.callback(VECTOR)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "unmatched")
    async with driver.service.client("finance") as client:
        (unmatched,) = (await client.get("/v1/unmatched-payments")).json()["items"]
    assert (unmatched["reference"], unmatched["reason"]) == ("UOL123456789", "unknown_reference")
    assert unmatched["amount"] == {"amount_minor": 49500, "currency": "GBP"}


async def test_a_signed_callback_we_do_not_understand_is_answered_200_and_kept(driver):
    answer = await driver.callback(b'{"event_type":"surprise"}')
    assert (answer.status_code, answer.json()["outcome"]) == (200, "not_understood")
    assert (await driver.session.scalar(select(UnmatchedPayment))).reason == "not_understood"


async def test_m6_a_payment_cancelled_after_it_was_processed_is_reversed(driver):
    order, reference = await driver.buy(await driver.sell())
    assert order["status"] == "paid"
    driver.clock.advance(hours=2)
    await driver.status(reference, "cancelled", reason_code="verification_failed")
    (reversed_,) = await driver.announced(PaymentReversed)
    assert (str(reversed_.order_id), reversed_.reason_code) == (order["order_id"], "verification_failed")
    assert [str(line.order_line_id) for line in reversed_.lines] == [order["lines"][0]["order_line_id"]]
    assert (await driver.read(order))["status"] == "reversed"
    assert len(await driver.announced(PaymentConfirmed)) == 1


async def test_money_that_comes_back_after_a_loss_is_no_second_confirmation(driver):
    order, reference = await driver.buy(await driver.sell())
    driver.clock.advance(hours=2)
    await driver.status(reference, "cancelled")
    driver.clock.advance(hours=2)
    await driver.status(reference, "processed")
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1
    (reversed_,), (restored,) = await driver.announced(PaymentReversed), await driver.announced(PaymentRestored)
    assert (str(restored.order_id), restored.learner_id) == (order["order_id"], driver.learner_id)
    assert restored.restored_at > reversed_.reversed_at
    assert (await driver.session.scalar(select(UnmatchedPayment))).reason == "restored_after_loss"
    kinds = (await driver.session.scalars(select(Posting.kind).order_by(Posting.posting_no))).all()
    assert kinds == ["sold", "lost", "restored"]


async def test_m7_without_any_callback_the_poller_finds_the_payment(driver):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    payment = await driver.pay(session_id, first_name="SANDBOX_TO_GUARANTEED_STATUS")
    await driver.later(minutes=1, seconds=59)
    await driver.run(find_payments)
    assert (await driver.read(order))["status"] == "placed"
    await driver.later(seconds=1)
    await driver.run(find_payments)
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1

    await driver.control.put("/control/callbacks", json={"mode": "deliver"})
    await driver.status(payment["payment_id"], "guaranteed", at=payment["created_at"])
    await driver.run(ask_about_payments)
    assert len(await driver.announced(PaymentConfirmed)) == 1
    assert await count(driver.session, QueuedEmail) == 1


async def test_a_payment_only_processed_is_asked_about_until_it_is_settled(driver):
    _, reference = await driver.buy(await driver.sell())
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    await driver.later(minutes=3)  # guaranteed and delivered, without a callback
    await driver.later(minutes=3)
    await driver.run(ask_about_payments)
    payment = await driver.session.scalar(select(Payment).where(Payment.reference == reference))
    assert (payment.state, payment.ask_at) == ("settled", None)
    assert len(await driver.announced(PaymentSettled)) == 1


async def test_m8_money_for_an_expired_order_revives_it_while_the_course_is_on_sale(driver):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    await driver.pay(session_id)
    driver.clock.advance(hours=24)
    await driver.run(expire_orders)
    assert (await driver.read(order))["status"] == "expired"
    assert len(await driver.announced(OrderExpired)) == 1
    await driver.later(minutes=30)
    await driver.control.post("/control/callbacks/release")
    await driver.sandbox.run_due()
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1


async def test_m9_money_for_an_expired_order_goes_back_when_the_course_is_withdrawn(driver):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    session_id = await driver.open_session(order)
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    await driver.pay(session_id)
    driver.clock.advance(hours=24)
    await driver.run(expire_orders)
    await driver.withdraw(course_id)
    await driver.later(minutes=30)
    await driver.control.post("/control/callbacks/release")
    await driver.sandbox.run_due()
    assert await driver.announced(PaymentConfirmed) == []
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.order_line_id, refund.reason_code) == (49500, None, "late_payment")
    assert (await driver.read(order))["status"] == "expired"


async def test_m10_a_second_payment_of_an_order_goes_back_whole(driver):
    order = await driver.order(await driver.sell())
    first = await driver.open_session(order)
    second = await driver.open_session(order, payer={"email": "charles@example.org"})
    await driver.pay(first)
    await driver.pay(second)
    assert len(await driver.announced(PaymentConfirmed)) == 1
    (duplicate,) = await driver.announced(DuplicateDetected)
    assert duplicate.amount_minor == 49500
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.order_line_id, refund.reason_code) == (49500, None, "duplicate")
    assert (await driver.read(order))["status"] == "paid"


async def test_m10_two_payments_at_once_confirm_once(live_driver):
    driver = live_driver
    order = await driver.order(await driver.sell())
    sessions = [await driver.open_session(order, payer={"email": f"{n}@example.org"}) for n in range(3)]
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    for session_id in sessions:
        await driver.pay(session_id)
    bodies = [one["body"].encode() for one in driver.sandbox.books.all("delivery") if "processed" in one["body"]]
    answers = await asyncio.gather(*(driver.callback(body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len(await driver.announced(PaymentConfirmed)) == 1
    assert len(await driver.announced(DuplicateDetected)) == 2
    assert [refund.amount_minor for refund in await driver.announced(RefundRequested)] == [49500, 49500]


async def test_m11_an_underpaid_order_gives_no_access_and_the_money_goes_back_after_14_days(driver):
    order = await driver.order(await driver.sell(), await driver.sell())
    assert order["total"]["amount_minor"] == 99000
    await driver.pay(await driver.open_session(order), amount=49500)
    assert (await driver.read(order))["status"] == "underpaid"
    assert await driver.announced(PaymentConfirmed) == []
    (mismatch,) = await driver.announced(AmountMismatch)
    assert (mismatch.expected_minor, mismatch.received_minor) == (99000, 49500)
    assert (await driver.session.scalars(select(QueuedEmail.kind))).all() == ["payment_underpaid"]

    await driver.later(days=13, hours=23)
    await driver.run(expire_orders, return_underpaid)
    assert (await driver.read(order))["status"] == "underpaid"
    await driver.later(hours=1)
    await driver.run(return_underpaid)
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "underpaid")
    assert (await driver.read(order))["status"] == "expired"


async def test_m11_an_underpaid_order_paid_whole_is_confirmed_and_the_first_money_goes_back(driver):
    order = await driver.order(await driver.sell(), await driver.sell())
    await driver.pay(await driver.open_session(order), amount=49500)
    await driver.pay(await driver.open_session(order, payer={"email": "c@example.org"}))
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "underpaid")


async def test_what_is_paid_too_much_goes_back(driver):
    order = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(order), amount=50000)
    (confirmed,) = await driver.announced(PaymentConfirmed)
    assert confirmed.amount_minor == 49500
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.order_line_id, refund.reason_code) == (500, None, "overpaid")
    assert [one["amount"]["amount_minor"] for one in (await driver.read(order))["returned"]] == [500]


async def test_money_of_another_currency_is_not_enough(driver):
    await order_of_the_vector(driver)
    body = VECTOR.replace(b'"GBP"', b'"USD"').replace(b'"49500"', b'"9999999"')
    await driver.callback(body)
    assert await driver.announced(PaymentConfirmed) == []
    assert [one.currency for one in await driver.announced(AmountMismatch)] == ["USD"]


async def test_m15_a_create_that_timed_out_and_its_repeat_both_paid_confirm_once(driver):
    order = await driver.order(await driver.sell())
    await driver.control.post("/control/failures", json={"seconds": 0, "takes_effect": True})
    assert (await driver.checkout(order)).json()["code"] == "provider_unavailable"
    (lost,) = driver.sandbox.books.all("session")
    session_id = await driver.open_session(order)
    assert session_id != lost["id"]
    await driver.pay(lost["id"])
    assert (await driver.read(order))["status"] == "paid"
    await driver.pay(session_id)
    assert len(await driver.announced(PaymentConfirmed)) == 1
    assert len(await driver.announced(DuplicateDetected)) == 1
    assert [refund.amount_minor for refund in await driver.announced(RefundRequested)] == [49500]


async def test_m15_a_create_that_timed_out_and_was_paid_in_silence_is_found_in_the_providers_list(driver):
    order = await driver.order(await driver.sell())
    await driver.control.post("/control/failures", json={"seconds": 0, "takes_effect": True})
    await driver.checkout(order)
    (lost,) = driver.sandbox.books.all("session")
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    await driver.pay(lost["id"])
    await driver.later(minutes=2)
    await driver.run(find_payments)
    assert (await driver.read(order))["status"] == "paid"


async def test_a_paid_orders_other_pages_are_closed(driver):
    order = await driver.order(await driver.sell())
    first = await driver.open_session(order)
    second = await driver.open_session(order, payer={"email": "charles@example.org"})
    await driver.pay(second)
    await driver.run(close_checkouts)
    assert driver.sandbox.session(first)["status"] == "expired"


async def test_an_expired_orders_page_is_closed_even_when_the_provider_is_away_for_a_while(driver, monkeypatch):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    driver.sandbox.books.put(
        "session", session_id, {**driver.sandbox.session(session_id), "expires_at": "2027-01-01T00:00:00Z"}
    )
    lasts = datetime(2027, 1, 1, tzinfo=UTC)  # it is asked about for as long
    await driver.session.execute(update(CheckoutAttempt).values(session_expires_at=lasts))
    driver.clock.advance(hours=24)
    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "app", broken)
        await driver.run(expire_orders, close_checkouts)
    assert driver.sandbox.session(session_id)["status"] == "open"
    driver.clock.advance(minutes=1)
    await driver.run(close_checkouts)
    assert driver.sandbox.session(session_id)["status"] == "expired"


async def broken(scope, receive, send):
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_a_cancelled_payment_that_is_processed_after_all_confirms(driver):
    order = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(order), first_name="SANDBOX_CANCELLED_BACK_TO_PROCESS_STATUS")
    for _ in range(4):
        await driver.later(seconds=1)
    await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1
    assert len(await driver.announced(PaymentSettled)) == 1


async def test_a_payment_that_dies_leaves_the_order_payable(driver):
    order = await driver.order(await driver.sell())
    dead = await driver.open_session(order)
    await driver.pay(dead, first_name="SANDBOX_TO_CANCEL_STATUS")
    await driver.later(seconds=1)
    assert (await driver.read(order))["status"] == "placed"
    again = await driver.open_session(order)
    assert again != dead
    await driver.pay(again)
    assert (await driver.read(order))["status"] == "paid"


async def test_a_bank_transfer_gives_access_when_it_is_guaranteed(driver):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), method="bank_transfer")
    driver.sandbox.payment(payment["payment_id"])["plan"] = []
    await driver.later(seconds=1)
    await driver.status(payment["payment_id"], "processed")
    assert (await driver.read(order))["status"] == "placed"
    await driver.later(seconds=1)
    await driver.status(payment["payment_id"], "guaranteed")
    assert (await driver.read(order))["status"] == "paid"
