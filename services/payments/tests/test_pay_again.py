"""An order whose payment was taken back can be paid again for a while; then it ends, and its courses are sold anew."""

from uuid import UUID

import pytest
from sqlalchemy import select, update

from payments.domain.policy import policy_of
from payments.handlers import inbox
from payments.jobs import ask_about_payments, close_checkouts, end_repayments, submit_refunds
from payments.tables import CheckoutAttempt, EndedEnrolment, Order, OrderLine
from shared.events.enrolment import ActivationRefused
from shared.events.payments import (
    DuplicateDetected,
    PaymentConfirmed,
    PaymentRestored,
    PaymentReversed,
    PaymentSettled,
    ReceiptIssued,
    RefundRequested,
)
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail


async def lose(driver, reference, status="cancelled"):
    driver.clock.advance(seconds=1)
    await driver.status(reference, status)


async def bought_and_lost(driver, lines=1):
    """An order whose payment was taken back, and the payment's reference."""
    order, reference = await driver.buy(*[await driver.sell() for _ in range(lines)])
    await lose(driver, reference)
    return await driver.read(order), reference


async def pay_again(driver, order, **body):
    driver.clock.advance(seconds=1)
    payment = await driver.pay(await driver.open_session(order), **body)
    return payment["payment_id"]


async def buy_anew(driver, order):
    """The answer to the same course being ordered once more."""
    async with driver.learner() as client:
        course_id = order["lines"][0]["course_id"]
        (await client.put(f"/v1/basket/items/{course_id}")).raise_for_status()
        return await client.post("/v1/orders")


async def activated(driver, order):
    """Its first line has an enrolment; the enrolment's id."""
    enrolment_id = new_id()
    line_id = UUID(order["lines"][0]["order_line_id"])
    await driver.session.execute(
        update(OrderLine).where(OrderLine.order_line_id == line_id).values(enrolment_id=enrolment_id)
    )
    return enrolment_id


async def test_the_last_word_about_money_is_the_latest_whichever_replicas_clock_dated_it(driver):
    _, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    (settled,) = await driver.announced(PaymentSettled)
    driver.clock.advance(seconds=-10)
    await driver.status(reference, "reversed")
    await driver.run(ask_about_payments)
    (reversed_,) = await driver.announced(PaymentReversed)
    assert reversed_.reversed_at > settled.settled_at


async def ended(driver, enrolment_id, order):
    course_id = UUID(order["lines"][0]["course_id"])
    driver.session.add(
        EndedEnrolment(
            enrolment_id=enrolment_id, learner_id=driver.learner_id, course_id=course_id, ended_at=driver.clock()
        )
    )
    await driver.session.flush()


async def test_a_reversed_order_is_paid_again_and_access_is_as_before(driver):
    order, first = await bought_and_lost(driver)
    assert order["status"] == "reversed"
    driver.clock.advance(days=13)
    second = await pay_again(driver, order)
    shown = await driver.read(order)
    assert shown["status"] == "paid"
    assert [(one["reference"], one["status"]) for one in shown["payments"]] == [(first, "lost"), (second, "received")]
    assert len(await driver.announced(PaymentConfirmed)) == len(await driver.announced(ReceiptIssued)) == 1
    (reversed_,), (restored,) = await driver.announced(PaymentReversed), await driver.announced(PaymentRestored)
    assert (restored.order_id, restored.learner_id) == (reversed_.order_id, driver.learner_id)
    assert restored.payment_id != reversed_.payment_id
    assert restored.restored_at > reversed_.reversed_at
    assert await driver.balances() == {"provider_receivable": 49500, "sales": -49500}
    await driver.deliver(second)
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    async with driver.learner() as client:
        receipt = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
    assert (receipt["status"], receipt["payment_reference"]) == ("paid", second)
    assert receipt["total"]["amount_minor"] == 49500
    kinds = (await driver.session.scalars(select(QueuedEmail.kind).order_by(QueuedEmail.email_id))).all()
    assert kinds == ["payment_confirmed", "payment_reversed", "payment_repaid"]


async def test_what_a_lost_dispute_took_can_be_paid_again(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    async with driver.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "other", "case_reference": "CB-9"}
        case = (await finance.post("/v1/disputes", json=body)).json()
        await finance.post(f"/v1/disputes/{case['dispute_id']}/closing", json={"outcome": "lost"})
    await pay_again(driver, order)
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.balances() == {"provider_receivable": 49500, "sales": -49500}


async def test_it_costs_what_it_cost_and_stays_on_sale_or_not(driver):
    course_id = await driver.sell()
    order, reference = await driver.buy(course_id)
    await lose(driver, reference)
    await driver.price(course_id, 99900, driver.clock())
    await driver.withdraw(course_id)
    answer = await driver.checkout(order)
    assert (answer.status_code, answer.json()["amount"]["amount_minor"]) == (201, 49500)


async def test_only_what_was_not_given_back_is_paid_again(driver):
    order, reference = await driver.buy(await driver.sell(), await driver.sell(59500))
    await driver.refund(order, 0)
    await lose(driver, reference)
    answer = await driver.checkout(order)
    assert answer.json()["amount"]["amount_minor"] == 59500
    second = (await driver.pay(answer.json()["pay_url"].rpartition("/")[2]))["payment_id"]
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.balances() == {"provider_receivable": 59500, "sales": -59500}
    async with driver.learner() as client:
        receipt = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
    assert (receipt["total"]["amount_minor"], len(receipt["lines"])) == (59500, 1)
    # The other course may be bought anew, this one may not.
    assert (await buy_anew(driver, order)).status_code == 201
    assert (await buy_anew(driver, {"lines": order["lines"][1:]})).json()["code"] == "already_bought"
    # And it may be given back, out of the money that paid for it.
    await driver.deliver(second)
    await driver.refund(order, 1)
    await driver.run(submit_refunds)
    assert [(one["payment_id"], one["amount"]) for one in driver.sandbox.books.all("refund")] == [(second, 59500)]


async def test_where_all_was_given_back_nothing_is_to_be_paid(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.refund(order)
    await lose(driver, reference)
    assert (await driver.checkout(order)).json()["code"] == "order_not_payable"


async def test_money_that_comes_back_after_all_is_returned_where_the_order_was_paid_again(driver):
    order, first = await driver.buy(await driver.sell(), await driver.sell(59500))
    await driver.refund(order, 0)
    await lose(driver, first)
    second = await pay_again(driver, order)
    driver.clock.advance(seconds=1)
    await driver.status(first, "processed")
    assert len(await driver.announced(DuplicateDetected)) == 1
    for reference in (first, second):
        await driver.deliver(reference)
    for _ in range(4):
        await driver.run(submit_refunds)
        for _ in range(4):
            await driver.later(minutes=2)
    back = {(one["payment_id"], one["amount"], one["status"]) for one in driver.sandbox.books.all("refund")}
    assert back == {(first, 49500, "finished"), (first, 59500, "finished")}
    assert await driver.balances() == {"cash": 59500, "sales": -59500}
    assert (await driver.read(order))["status"] == "partly_refunded"


async def test_it_can_be_lost_and_paid_again_once_more(driver):
    order, first = await bought_and_lost(driver)
    second = await pay_again(driver, order)
    await lose(driver, second)
    assert (await driver.read(order))["status"] == "reversed"
    assert await driver.balances() == {}
    driver.clock.advance(seconds=1)
    await driver.status(first, "processed")  # and now the first one is there again
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.balances() == {"provider_receivable": 49500, "sales": -49500}
    driver.clock.advance(seconds=1)
    await driver.status(second, "processed")
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [49500]
    assert len(await driver.announced(PaymentReversed)) == len(await driver.announced(PaymentRestored)) == 2


@pytest.mark.parametrize(("amount", "back"), [(50000, 500), (10000, 10000)], ids=["too much", "too little"])
async def test_another_sum_than_what_is_owed(driver, amount, back):
    order, _ = await bought_and_lost(driver)
    await pay_again(driver, order, amount=amount)
    assert (await driver.read(order))["status"] == ("paid" if amount > 49500 else "reversed")
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [back]


async def test_after_the_time_for_it_the_order_can_no_longer_be_paid_and_late_money_goes_back(driver):
    order, reference = await bought_and_lost(driver)
    version = (await driver.session.scalars(select(Order.regulations_version))).one()
    driver.clock.advance(seconds=policy_of(version).repayment.total_seconds() - 60)
    session_id = await driver.open_session(order)
    await driver.later(minutes=2)
    assert (await driver.checkout(order)).json()["code"] == "order_expired"
    payment = await driver.pay(session_id)
    assert (await driver.read(order))["status"] == "reversed"
    assert [(one.amount_minor, one.reason_code) for one in await driver.announced(RefundRequested)] == [
        (49500, "late_payment")
    ]
    assert payment["payment_id"] != reference


async def test_a_pay_page_that_is_open_when_the_time_ends_is_closed(driver):
    order, _ = await bought_and_lost(driver)
    driver.clock.advance(days=14, seconds=-60)
    session_id = await driver.open_session(order)
    await driver.run(end_repayments, close_checkouts)
    assert driver.sandbox.session(session_id)["status"] == "open"
    driver.clock.advance(minutes=2)
    await driver.run(end_repayments, close_checkouts)
    assert driver.sandbox.session(session_id)["status"] == "expired"
    statuses = await driver.session.scalars(select(CheckoutAttempt.status).execution_options(populate_existing=True))
    assert sorted(statuses) == ["closed", "paid"]


async def test_while_it_can_be_paid_again_its_courses_are_not_sold_beside_it(driver):
    order, _ = await bought_and_lost(driver)
    refused = await buy_anew(driver, order)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_ordered")
    assert refused.json()["order_ids"] == [order["order_id"]]
    driver.clock.advance(days=15)
    assert (await buy_anew(driver, order)).status_code == 201


async def test_they_are_sold_anew_once_the_enrolment_has_ended_and_not_before(driver):
    order, reference = await driver.buy(await driver.sell())
    enrolment_id = await activated(driver, order)
    await lose(driver, reference)
    driver.clock.advance(days=15)
    refused = await buy_anew(driver, order)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_bought")
    await ended(driver, enrolment_id, order)
    assert (await buy_anew(driver, order)).status_code == 201


async def test_the_learner_cannot_leave_what_is_owed(driver):
    order, _ = await bought_and_lost(driver)
    assert (await driver.cancel(order)).json()["code"] == "order_not_payable"


async def test_what_was_paid_again_for_an_enrolment_that_had_ended_goes_back(driver):
    order, _ = await bought_and_lost(driver)
    await pay_again(driver, order)
    line = order["lines"][0]
    refused = ActivationRefused(
        order_id=UUID(order["order_id"]),
        order_line_id=UUID(line["order_line_id"]),
        course_id=UUID(line["course_id"]),
        learner_id=driver.learner_id,
        reason_code="enrolment_ended",
        refused_at=driver.clock(),
    )
    await inbox.receive(driver.session, refused)
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [49500]


async def test_a_second_payment_of_the_first_sessions_pays_what_is_owed(driver):
    """Two pages were open; the money of the first is gone when the second is paid in."""
    order = await driver.order(await driver.sell())
    one, other = await driver.open_session(order), await driver.open_session(order, payer={"email": "b@example.org"})
    first = await driver.pay(one)
    await lose(driver, first["payment_id"])
    await driver.pay(other)
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.balances() == {"provider_receivable": 49500, "sales": -49500}
    await driver.later(minutes=5)
    await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "paid"
