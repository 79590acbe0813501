"""The acceptance cases of the payment rules, with exactly their results, and their neighbours."""

import asyncio
import json
from pathlib import Path

from sqlalchemy import func, select

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


async def order_of_the_vector(shop):
    """An order of 49500 whose checkout carries the reference of the published test vector."""
    order = await shop.order(await shop.sell())
    await shop.open_session(order)
    if shop.session is not None:
        attempt = await shop.session.scalar(select(CheckoutAttempt))
        attempt.reference = "ord_01JBZ0000000000000000000"
        await shop.session.flush()
    else:
        async with shop.service.process.database.transaction() as session:
            (await session.scalar(select(CheckoutAttempt))).reference = "ord_01JBZ0000000000000000000"
    return order


async def test_m1_a_guaranteed_callback_confirms_the_order(shop):
    order = await order_of_the_vector(shop)
    answer = await shop.callback(VECTOR)
    assert (answer.status_code, answer.json()) == (200, {"outcome": "applied"})
    (confirmed,) = await shop.announced(PaymentConfirmed)
    assert str(confirmed.order_id) == order["order_id"]
    assert (confirmed.amount_minor, confirmed.currency) == (49500, "GBP")
    assert [line.due_minor for line in confirmed.lines] == [49500]
    assert (await shop.read(order))["status"] == "paid"
    emails = (await shop.session.scalars(select(QueuedEmail.kind))).all()
    assert emails == ["payment_confirmed"]


async def test_m2_the_same_callback_again_has_no_second_effect(live_shop):
    shop = live_shop
    order = await order_of_the_vector(shop)
    answers = await asyncio.gather(shop.callback(VECTOR), shop.callback(VECTOR))
    answers += [await shop.callback(VECTOR) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert sorted(answer.json()["outcome"] for answer in answers) == ["applied", *["duplicate"] * 5]
    assert len(await shop.announced(PaymentConfirmed)) == 1
    assert (await shop.read(order))["status"] == "paid"
    async with shop.service.process.database.transaction() as session:
        assert await count(session, QueuedEmail) == 1
        assert await count(session, Posting) == 1


async def test_m2_the_same_event_in_other_bytes_has_no_second_effect(shop):
    await order_of_the_vector(shop)
    await shop.callback(VECTOR)
    answer = await shop.callback(json.dumps(json.loads(VECTOR), indent=1).encode())
    assert (answer.status_code, answer.json()["outcome"]) == (200, "duplicate")
    assert len(await shop.announced(PaymentConfirmed)) == 1


async def test_m3_a_changed_byte_is_refused_and_only_the_rejection_is_recorded(shop):
    order = await order_of_the_vector(shop)
    body = VECTOR.replace(b'"49500"', b'"49501"')
    for _ in range(2):
        answer = await shop.callback(body, sign(VECTOR, b"shared-secret-for-tests"))
        assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
        assert answer.headers["content-type"] == "application/problem+json"
    (rejection,) = await shop.session.scalars(select(RejectedNotification).execution_options(populate_existing=True))
    assert (rejection.times, rejection.size) == (2, 242)
    for table in (Notification, Payment, UnmatchedPayment, Posting):
        assert await count(shop.session, table) == 0
    assert (await shop.read(order))["status"] == "placed"


async def test_a_secret_that_is_being_replaced_still_signs(shop):
    await order_of_the_vector(shop)
    assert (await shop.callback(VECTOR, sign(VECTOR, b"the-secret-before"))).json()["outcome"] == "applied"


async def test_a_callback_is_not_read_beyond_its_cap(shop):
    answer = await shop.callback(b"x" * (64 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "notification_too_large")


async def test_an_unknown_reference_is_answered_200_and_kept(shop):
    answer = await shop.callback(VECTOR)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "unmatched")
    async with shop.service.client("finance") as client:
        (unmatched,) = (await client.get("/v1/unmatched-payments")).json()["items"]
    assert (unmatched["reference"], unmatched["reason"]) == ("UOL123456789", "unknown_reference")
    assert unmatched["amount"] == {"amount_minor": 49500, "currency": "GBP"}


async def test_a_signed_callback_we_do_not_understand_is_answered_200_and_kept(shop):
    answer = await shop.callback(b'{"event_type":"surprise"}')
    assert (answer.status_code, answer.json()["outcome"]) == (200, "not_understood")
    assert (await shop.session.scalar(select(UnmatchedPayment))).reason == "not_understood"


async def test_m6_a_payment_cancelled_after_it_was_processed_is_reversed(shop):
    order, reference = await shop.buy(await shop.sell())
    assert order["status"] == "paid"
    shop.clock.advance(hours=2)
    await shop.status(reference, "cancelled", reason_code="verification_failed")
    (reversed_,) = await shop.announced(PaymentReversed)
    assert (str(reversed_.order_id), reversed_.reason_code) == (order["order_id"], "verification_failed")
    assert [str(line.order_line_id) for line in reversed_.lines] == [order["lines"][0]["order_line_id"]]
    assert (await shop.read(order))["status"] == "reversed"
    assert len(await shop.announced(PaymentConfirmed)) == 1


async def test_money_that_comes_back_after_a_loss_is_no_second_confirmation(shop):
    order, reference = await shop.buy(await shop.sell())
    shop.clock.advance(hours=2)
    await shop.status(reference, "cancelled")
    shop.clock.advance(hours=2)
    await shop.status(reference, "processed")
    assert (await shop.read(order))["status"] == "paid"
    assert len(await shop.announced(PaymentConfirmed)) == 1
    (reversed_,), (restored,) = await shop.announced(PaymentReversed), await shop.announced(PaymentRestored)
    assert (str(restored.order_id), restored.learner_id) == (order["order_id"], shop.learner_id)
    assert restored.restored_at > reversed_.reversed_at
    assert (await shop.session.scalar(select(UnmatchedPayment))).reason == "restored_after_loss"
    kinds = (await shop.session.scalars(select(Posting.kind).order_by(Posting.posting_no))).all()
    assert kinds == ["sold", "lost", "restored"]


async def test_m7_without_any_callback_the_poller_finds_the_payment(shop):
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    payment = await shop.pay(session_id, first_name="SANDBOX_TO_GUARANTEED_STATUS")
    await shop.later(minutes=1, seconds=59)
    await shop.run(find_payments)
    assert (await shop.read(order))["status"] == "placed"
    await shop.later(seconds=1)
    await shop.run(find_payments)
    assert (await shop.read(order))["status"] == "paid"
    assert len(await shop.announced(PaymentConfirmed)) == 1

    await shop.control.put("/control/callbacks", json={"mode": "deliver"})
    await shop.status(payment["payment_id"], "guaranteed", at=payment["created_at"])
    await shop.run(ask_about_payments)
    assert len(await shop.announced(PaymentConfirmed)) == 1
    assert await count(shop.session, QueuedEmail) == 1


async def test_a_payment_only_processed_is_asked_about_until_it_is_settled(shop):
    _, reference = await shop.buy(await shop.sell())
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    await shop.later(minutes=3)  # guaranteed and delivered, without a callback
    await shop.later(minutes=3)
    await shop.run(ask_about_payments)
    payment = await shop.session.scalar(select(Payment).where(Payment.reference == reference))
    assert (payment.state, payment.ask_at) == ("settled", None)
    assert len(await shop.announced(PaymentSettled)) == 1


async def test_m8_money_for_an_expired_order_revives_it_while_the_course_is_on_sale(shop):
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    await shop.control.put("/control/callbacks", json={"mode": "hold"})
    await shop.pay(session_id)
    shop.clock.advance(hours=24)
    await shop.run(expire_orders)
    assert (await shop.read(order))["status"] == "expired"
    assert len(await shop.announced(OrderExpired)) == 1
    await shop.later(minutes=30)
    await shop.control.post("/control/callbacks/release")
    await shop.sandbox.run_due()
    assert (await shop.read(order))["status"] == "paid"
    assert len(await shop.announced(PaymentConfirmed)) == 1


async def test_m9_money_for_an_expired_order_goes_back_when_the_course_is_withdrawn(shop):
    course_id = await shop.sell()
    order = await shop.order(course_id)
    session_id = await shop.open_session(order)
    await shop.control.put("/control/callbacks", json={"mode": "hold"})
    await shop.pay(session_id)
    shop.clock.advance(hours=24)
    await shop.run(expire_orders)
    await shop.withdraw(course_id)
    await shop.later(minutes=30)
    await shop.control.post("/control/callbacks/release")
    await shop.sandbox.run_due()
    assert await shop.announced(PaymentConfirmed) == []
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.order_line_id, refund.reason_code) == (49500, None, "late_payment")
    assert (await shop.read(order))["status"] == "expired"


async def test_m10_a_second_payment_of_an_order_goes_back_whole(shop):
    order = await shop.order(await shop.sell())
    first = await shop.open_session(order)
    second = await shop.open_session(order, payer={"email": "charles@example.org"})
    await shop.pay(first)
    await shop.pay(second)
    assert len(await shop.announced(PaymentConfirmed)) == 1
    (duplicate,) = await shop.announced(DuplicateDetected)
    assert duplicate.amount_minor == 49500
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.order_line_id, refund.reason_code) == (49500, None, "duplicate")
    assert (await shop.read(order))["status"] == "paid"


async def test_m10_two_payments_at_once_confirm_once(live_shop):
    shop = live_shop
    order = await shop.order(await shop.sell())
    sessions = [await shop.open_session(order, payer={"email": f"{n}@example.org"}) for n in range(3)]
    await shop.control.put("/control/callbacks", json={"mode": "hold"})
    for session_id in sessions:
        await shop.pay(session_id)
    bodies = [one["body"].encode() for one in shop.sandbox.books.all("delivery") if "processed" in one["body"]]
    answers = await asyncio.gather(*(shop.callback(body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len(await shop.announced(PaymentConfirmed)) == 1
    assert len(await shop.announced(DuplicateDetected)) == 2
    assert [refund.amount_minor for refund in await shop.announced(RefundRequested)] == [49500, 49500]


async def test_m11_an_underpaid_order_gives_no_access_and_the_money_goes_back_after_14_days(shop):
    order = await shop.order(await shop.sell(), await shop.sell())
    assert order["total"]["amount_minor"] == 99000
    await shop.pay(await shop.open_session(order), amount=49500)
    assert (await shop.read(order))["status"] == "underpaid"
    assert await shop.announced(PaymentConfirmed) == []
    (mismatch,) = await shop.announced(AmountMismatch)
    assert (mismatch.expected_minor, mismatch.received_minor) == (99000, 49500)
    assert (await shop.session.scalars(select(QueuedEmail.kind))).all() == ["payment_underpaid"]

    await shop.later(days=13, hours=23)
    await shop.run(expire_orders, return_underpaid)
    assert (await shop.read(order))["status"] == "underpaid"
    await shop.later(hours=1)
    await shop.run(return_underpaid)
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "underpaid")
    assert (await shop.read(order))["status"] == "expired"


async def test_m11_an_underpaid_order_paid_whole_is_confirmed_and_the_first_money_goes_back(shop):
    order = await shop.order(await shop.sell(), await shop.sell())
    await shop.pay(await shop.open_session(order), amount=49500)
    await shop.pay(await shop.open_session(order, payer={"email": "c@example.org"}))
    assert (await shop.read(order))["status"] == "paid"
    assert len(await shop.announced(PaymentConfirmed)) == 1
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "underpaid")


async def test_what_is_paid_too_much_goes_back(shop):
    order = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(order), amount=50000)
    (confirmed,) = await shop.announced(PaymentConfirmed)
    assert confirmed.amount_minor == 49500
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.order_line_id, refund.reason_code) == (500, None, "overpaid")
    assert [one["amount"]["amount_minor"] for one in (await shop.read(order))["returned"]] == [500]


async def test_money_of_another_currency_is_not_enough(shop):
    await order_of_the_vector(shop)
    body = VECTOR.replace(b'"GBP"', b'"USD"').replace(b'"49500"', b'"9999999"')
    await shop.callback(body)
    assert await shop.announced(PaymentConfirmed) == []
    assert [one.currency for one in await shop.announced(AmountMismatch)] == ["USD"]


async def test_m15_a_create_that_timed_out_and_its_repeat_both_paid_confirm_once(shop):
    order = await shop.order(await shop.sell())
    await shop.control.post("/control/failures", json={"seconds": 0, "takes_effect": True})
    assert (await shop.checkout(order)).json()["code"] == "provider_unavailable"
    (lost,) = shop.sandbox.books.all("session")
    session_id = await shop.open_session(order)
    assert session_id != lost["id"]
    await shop.pay(lost["id"])
    assert (await shop.read(order))["status"] == "paid"
    await shop.pay(session_id)
    assert len(await shop.announced(PaymentConfirmed)) == 1
    assert len(await shop.announced(DuplicateDetected)) == 1
    assert [refund.amount_minor for refund in await shop.announced(RefundRequested)] == [49500]


async def test_m15_a_create_that_timed_out_and_was_paid_in_silence_is_found_in_the_providers_list(shop):
    order = await shop.order(await shop.sell())
    await shop.control.post("/control/failures", json={"seconds": 0, "takes_effect": True})
    await shop.checkout(order)
    (lost,) = shop.sandbox.books.all("session")
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    await shop.pay(lost["id"])
    await shop.later(minutes=2)
    await shop.run(find_payments)
    assert (await shop.read(order))["status"] == "paid"


async def test_a_paid_orders_other_pages_are_closed(shop):
    order = await shop.order(await shop.sell())
    first = await shop.open_session(order)
    second = await shop.open_session(order, payer={"email": "charles@example.org"})
    await shop.pay(second)
    await shop.run(close_checkouts)
    assert shop.sandbox.session(first)["status"] == "expired"


async def test_an_expired_orders_page_is_closed_even_when_the_provider_is_away_for_a_while(shop, monkeypatch):
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    shop.sandbox.books.put(
        "session", session_id, {**shop.sandbox.session(session_id), "expires_at": "2027-01-01T00:00:00Z"}
    )
    shop.clock.advance(hours=24)
    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "app", broken)
        await shop.run(expire_orders, close_checkouts)
    assert shop.sandbox.session(session_id)["status"] == "open"
    shop.clock.advance(minutes=1)
    await shop.run(close_checkouts)
    assert shop.sandbox.session(session_id)["status"] == "expired"


async def broken(scope, receive, send):
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_a_cancelled_payment_that_is_processed_after_all_confirms(shop):
    order = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(order), first_name="SANDBOX_CANCELLED_BACK_TO_PROCESS_STATUS")
    for _ in range(4):
        await shop.later(seconds=1)
    await shop.run(ask_about_payments)
    assert (await shop.read(order))["status"] == "paid"
    assert len(await shop.announced(PaymentConfirmed)) == 1
    assert len(await shop.announced(PaymentSettled)) == 1


async def test_a_payment_that_dies_leaves_the_order_payable(shop):
    order = await shop.order(await shop.sell())
    dead = await shop.open_session(order)
    await shop.pay(dead, first_name="SANDBOX_TO_CANCEL_STATUS")
    await shop.later(seconds=1)
    assert (await shop.read(order))["status"] == "placed"
    again = await shop.open_session(order)
    assert again != dead
    await shop.pay(again)
    assert (await shop.read(order))["status"] == "paid"


async def test_a_bank_transfer_gives_access_when_it_is_guaranteed(shop):
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), method="bank_transfer")
    shop.sandbox.payment(payment["payment_id"])["plan"] = []
    await shop.later(seconds=1)
    await shop.status(payment["payment_id"], "processed")
    assert (await shop.read(order))["status"] == "placed"
    await shop.later(seconds=1)
    await shop.status(payment["payment_id"], "guaranteed")
    assert (await shop.read(order))["status"] == "paid"
