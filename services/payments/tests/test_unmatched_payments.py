"""What finance is shown ends by itself when all is well, and may be closed by one of them: each reason has its end."""

import json

import pytest
from sqlalchemy import select, update

from payments.domain.unmatched import ENDED_BY, Why
from payments.jobs import ask_about_payments, compare_with_provider, submit_refunds
from payments.tables import OrderLine, Payment, UnmatchedPayment

from .disputes import close, dispute


async def say(driver, record, status, resource="payments", **changes):
    driver.clock.advance(seconds=1)
    data = {name: value for name, value in record.items() if name not in {"plan", "history"}} | {"status": status}
    event = {"event_type": status, "event_date": driver.clock().isoformat(), "event_resource": resource}
    answer = await driver.callback(json.dumps(event | {"data": data | changes}).encode())
    assert answer.status_code == 200, answer.text


async def paid(driver, **body):
    """A payment of an order that is guaranteed, with what the provider has of it."""
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), first_name="SANDBOX_TO_GUARANTEED_STATUS", **body)
    record = driver.sandbox.payment(payment["payment_id"])
    record["plan"] = []
    return order, record


async def unknown_reference(driver):
    _, record = await paid(driver)
    ours, another = record["external_reference"], record | {"payment_id": "FWU000000009"}
    await say(driver, another, "guaranteed", external_reference="strange")
    yield
    await say(driver, another, "delivered", external_reference=ours)


async def not_understood(driver):
    _, record = await paid(driver)
    await say(driver, record, "delivered", amount_to="much")
    yield
    await driver.run(ask_about_payments)


async def unknown_status(driver):
    _, record = await paid(driver)
    await say(driver, record, "archived")
    yield
    await say(driver, record, "delivered")


async def nothing_paid(driver):
    _, record = await paid(driver, amount=0)
    yield
    record["amount_to"] = 49500
    await say(driver, record, "delivered")


async def amount_changed(driver):
    _, record = await paid(driver)
    await say(driver, record, "delivered", amount_to=30000)
    yield
    await say(driver, record, "delivered")
    driver.sandbox.set_status(record, "delivered")
    driver.clock.advance(days=2)
    await driver.run(compare_with_provider)  # which finds no difference


async def books_differ(driver):
    await paid(driver)
    await driver.session.execute(update(OrderLine).values(list_minor=1, due_minor=1))
    driver.clock.advance(days=2)
    await driver.run(compare_with_provider)
    yield
    await driver.session.execute(update(OrderLine).values(list_minor=49500, due_minor=49500))
    driver.clock.advance(days=2)
    await driver.run(compare_with_provider)


async def restored_after_loss(driver):
    _, record = await paid(driver)
    for status in ("cancelled", "processed"):
        driver.clock.advance(seconds=1)
        await driver.status(record["payment_id"], status)
    yield
    await driver.deliver(record["payment_id"])


async def paid_after_lost_dispute(driver):
    order, record = await paid(driver)
    case = (await dispute(driver, order)).json()
    await close(driver, case["dispute_id"], "lost")
    await say(driver, record, "delivered")
    yield
    await say(driver, record, "reversed")


async def refunding(driver):
    """A delivered payment's refund at the provider."""
    order, record = await paid(driver)
    await driver.deliver(record["payment_id"])
    await driver.refund(order)
    await driver.run(submit_refunds)
    [made] = driver.sandbox.refunds(record["payment_id"])
    made["plan"] = []
    return record, made


async def unknown_refund(driver):
    _, made = await refunding(driver)
    strange = made | {"refund_id": "RF-1", "external_reference": "strange"}
    await say(driver, strange, "received", "refunds")
    yield
    await say(driver, strange, "cancelled", "refunds")


async def refunded_too_little(driver):
    _, made = await refunding(driver)
    await say(driver, made, "finished", "refunds", amount=100)
    yield
    await say(driver, made, "finished", "refunds")


async def refunded_twice(driver):
    _, made = await refunding(driver)
    await say(driver, made | {"refund_id": "RF-2"}, "received", "refunds")
    yield
    await say(driver, made | {"refund_id": "RF-2"}, "cancelled", "refunds")


async def paid_out_too_much(driver):
    record, made = await refunding(driver)
    driver.clock.advance(seconds=1)
    await driver.status(record["payment_id"], "reversed")
    await say(driver, made, "finished", "refunds")
    yield
    await say(driver, made, "returned", "refunds")


async def differs_from_provider(driver):
    _, record = await paid(driver)
    await driver.session.execute(update(UnmatchedPayment).values(reason=Why.AMOUNT_CHANGED))
    await shown(driver, record, Why.DIFFERS_FROM_PROVIDER)
    yield
    driver.clock.advance(days=2)
    await driver.run(compare_with_provider)


async def not_at_provider(driver):
    _, record = await paid(driver)
    await shown(driver, record, Why.NOT_AT_PROVIDER)
    yield
    driver.clock.advance(days=2)
    await driver.run(compare_with_provider)


async def taken_back_without_dispute(driver):
    order, record = await paid(driver)
    driver.clock.advance(seconds=1)
    await driver.status(record["payment_id"], "reversed")
    for outcome in ("won", "lost"):
        case = await dispute(driver, order, payment_reference=record["payment_id"])
        await close(driver, case.json()["dispute_id"], outcome)
        if outcome == "won":
            yield


async def shown(driver, record, why):
    """As a comparison shows it that could not be explained."""
    from payments.commands.unmatched import show_own_payment

    payment = await driver.session.scalar(select(Payment).where(Payment.reference == record["payment_id"]))
    await show_own_payment(driver.session, payment, why)


WAYS = {
    one.__name__: one
    for one in (
        *(
            unknown_reference,
            unknown_refund,
            unknown_status,
            not_understood,
            nothing_paid,
            amount_changed,
            books_differ,
        ),
        *(differs_from_provider, not_at_provider, paid_after_lost_dispute, paid_out_too_much, refunded_too_little),
        *(refunded_twice, restored_after_loss, taken_back_without_dispute),
    )
}


def test_every_reason_has_what_ends_it():
    assert set(WAYS) == set(ENDED_BY) == set(Why)


@pytest.mark.parametrize("why", WAYS)
async def test_what_is_well_again_leaves_the_list_and_is_kept(driver, why):
    way = WAYS[why](driver)
    await anext(way)
    assert why in await driver.unmatched()
    with pytest.raises(StopAsyncIteration):
        await anext(way)
    assert await driver.unmatched() == {}
    async with driver.service.client("finance") as finance:
        assert (await finance.get("/v1/unmatched-payments")).json()["items"] == []
        ended = (await finance.get("/v1/unmatched-payments", params={"open": False})).json()["items"]
    assert why in {one["reason"] for one in ended}
    assert all(one["ended_at"] and one["note"] is None for one in ended)


async def test_a_payment_of_nobody_that_comes_to_nothing_is_no_matter_for_finance(driver):
    _, record = await paid(driver)
    await driver.session.execute(update(Payment).values(reference="another"))
    await say(driver, record, "guaranteed", external_reference="strange")
    assert set(await driver.unmatched()) == {"unknown_reference"}
    await say(driver, record, "failed", external_reference="strange")
    assert await driver.unmatched() == {}
    await say(driver, record | {"payment_id": "FWU999"}, "cancelled", external_reference="strange")
    assert await driver.unmatched() == {}


async def close_it(driver, reason, id_=None):
    row = (await driver.session.scalars(select(UnmatchedPayment).where(UnmatchedPayment.reason == reason))).one()
    path = f"/v1/unmatched-payments/{id_ or row.unmatched_id}/closure"
    async with driver.service.client("finance") as finance:
        return await finance.post(path, json={"note": "Settled by telephone"})


async def test_what_finance_has_closed_comes_back_only_when_something_else_is_reported(driver):
    _, record = await paid(driver, amount=0)
    answer = await close_it(driver, "nothing_paid")
    assert (answer.status_code, answer.json()["note"]) == (200, "Settled by telephone")
    assert await driver.unmatched() == {}
    again = await close_it(driver, "nothing_paid")
    assert (again.status_code, again.json()["code"]) == (409, "unmatched_payment_ended")
    await say(driver, record, "archived")
    await close_it(driver, "unknown_status")
    driver.clock.advance(hours=1)
    await say(driver, record, "archived")
    assert await driver.unmatched() == {}
    await say(driver, record, "on hold")
    assert set(await driver.unmatched()) == {"unknown_status"}


async def test_finance_closes_what_no_order_explains(driver):
    _, record = await paid(driver)
    await driver.session.execute(update(Payment).values(reference="another"))
    await say(driver, record, "guaranteed", external_reference="strange")
    assert (await close_it(driver, "unknown_reference")).status_code == 200
    assert await driver.unmatched() == {}


async def test_a_sum_that_finance_has_closed_is_known_all_the_same(driver):
    _, record = await paid(driver)
    record["amount_to"] = 30000
    await say(driver, record, "delivered")
    driver.sandbox.set_status(record, "delivered")
    await close_it(driver, "amount_changed")
    driver.clock.advance(days=2)
    await driver.run(compare_with_provider)
    assert await driver.unmatched() == {}
