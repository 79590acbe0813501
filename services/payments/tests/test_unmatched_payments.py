"""What finance is shown ends by itself when all is well, and may be closed by one of them: each reason has its end."""

import json

import pytest
from sqlalchemy import select, update

from payments.domain.unmatched import ENDED_BY, Why
from payments.jobs import ask_about_payments, compare_with_provider, submit_refunds
from payments.tables import OrderLine, Payment, UnmatchedPayment

from .disputes import close, dispute


async def say(shop, record, status, resource="payments", **changes):
    shop.clock.advance(seconds=1)
    data = {name: value for name, value in record.items() if name not in {"plan", "history"}} | {"status": status}
    event = {"event_type": status, "event_date": shop.clock().isoformat(), "event_resource": resource}
    answer = await shop.callback(json.dumps(event | {"data": data | changes}).encode())
    assert answer.status_code == 200, answer.text


async def paid(shop, **body):
    """A payment of an order that is guaranteed, with what the provider has of it."""
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), first_name="SANDBOX_TO_GUARANTEED_STATUS", **body)
    record = shop.sandbox.payment(payment["payment_id"])
    record["plan"] = []
    return order, record


async def unknown_reference(shop):
    _, record = await paid(shop)
    ours = record["external_reference"]
    await shop.session.execute(update(Payment).values(reference="another"))
    await say(shop, record, "guaranteed", external_reference="strange")
    yield
    await say(shop, record, "delivered", external_reference=ours)


async def not_understood(shop):
    _, record = await paid(shop)
    await say(shop, record, "delivered", amount_to="much")
    yield
    await shop.run(ask_about_payments)


async def unknown_status(shop):
    _, record = await paid(shop)
    await say(shop, record, "archived")
    yield
    await say(shop, record, "delivered")


async def nothing_paid(shop):
    _, record = await paid(shop, amount=0)
    yield
    record["amount_to"] = 49500
    await say(shop, record, "delivered")


async def amount_changed(shop):
    _, record = await paid(shop)
    await say(shop, record, "delivered", amount_to=30000)
    yield
    await say(shop, record, "delivered")
    shop.sandbox.set_status(record, "delivered")
    shop.clock.advance(days=2)
    await shop.run(compare_with_provider)  # which finds no difference


async def books_differ(shop):
    await paid(shop)
    await shop.session.execute(update(OrderLine).values(list_minor=1, due_minor=1))
    shop.clock.advance(days=2)
    await shop.run(compare_with_provider)
    yield
    await shop.session.execute(update(OrderLine).values(list_minor=49500, due_minor=49500))
    shop.clock.advance(days=2)
    await shop.run(compare_with_provider)


async def restored_after_loss(shop):
    _, record = await paid(shop)
    for status in ("cancelled", "processed"):
        shop.clock.advance(seconds=1)
        await shop.status(record["payment_id"], status)
    yield
    await shop.deliver(record["payment_id"])


async def paid_after_lost_dispute(shop):
    order, record = await paid(shop)
    case = (await dispute(shop, order)).json()
    await close(shop, case["dispute_id"], "lost")
    await say(shop, record, "delivered")
    yield
    await say(shop, record, "reversed")


async def refunding(shop):
    """A delivered payment's refund at the provider."""
    order, record = await paid(shop)
    await shop.deliver(record["payment_id"])
    await shop.refund(order)
    await shop.run(submit_refunds)
    [made] = shop.sandbox.refunds(record["payment_id"])
    made["plan"] = []
    return record, made


async def unknown_refund(shop):
    _, made = await refunding(shop)
    strange = made | {"refund_id": "RF-1", "external_reference": "strange"}
    await say(shop, strange, "received", "refunds")
    yield
    await say(shop, strange, "cancelled", "refunds")


async def refunded_too_little(shop):
    _, made = await refunding(shop)
    await say(shop, made, "finished", "refunds", amount=100)
    yield
    await say(shop, made, "finished", "refunds")


async def refunded_twice(shop):
    _, made = await refunding(shop)
    await say(shop, made | {"refund_id": "RF-2"}, "received", "refunds")
    yield
    await say(shop, made | {"refund_id": "RF-2"}, "cancelled", "refunds")


async def paid_out_too_much(shop):
    record, made = await refunding(shop)
    shop.clock.advance(seconds=1)
    await shop.status(record["payment_id"], "reversed")
    await say(shop, made, "finished", "refunds")
    yield
    await say(shop, made, "returned", "refunds")


async def differs_from_provider(shop):
    _, record = await paid(shop)
    await shop.session.execute(update(UnmatchedPayment).values(reason=Why.AMOUNT_CHANGED))
    await shown(shop, record, Why.DIFFERS_FROM_PROVIDER)
    yield
    shop.clock.advance(days=2)
    await shop.run(compare_with_provider)


async def not_at_provider(shop):
    _, record = await paid(shop)
    await shown(shop, record, Why.NOT_AT_PROVIDER)
    yield
    shop.clock.advance(days=2)
    await shop.run(compare_with_provider)


async def shown(shop, record, why):
    """As a comparison shows it that could not be explained."""
    from payments.commands.unmatched import show_own_payment

    payment = await shop.session.scalar(select(Payment).where(Payment.reference == record["payment_id"]))
    await show_own_payment(shop.session, payment, why)


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
        *(refunded_twice, restored_after_loss),
    )
}


def test_every_reason_has_what_ends_it():
    assert set(WAYS) == set(ENDED_BY) == set(Why)


@pytest.mark.parametrize("why", WAYS)
async def test_what_is_well_again_leaves_the_list_and_is_kept(shop, why):
    way = WAYS[why](shop)
    await anext(way)
    assert why in await shop.unmatched()
    with pytest.raises(StopAsyncIteration):
        await anext(way)
    assert await shop.unmatched() == {}
    async with shop.service.client("finance") as finance:
        assert (await finance.get("/v1/unmatched-payments")).json()["items"] == []
        ended = (await finance.get("/v1/unmatched-payments", params={"open": False})).json()["items"]
    assert why in {one["reason"] for one in ended}
    assert all(one["ended_at"] and one["note"] is None for one in ended)


async def test_a_payment_of_nobody_that_comes_to_nothing_is_no_matter_for_finance(shop):
    _, record = await paid(shop)
    await shop.session.execute(update(Payment).values(reference="another"))
    await say(shop, record, "guaranteed", external_reference="strange")
    assert set(await shop.unmatched()) == {"unknown_reference"}
    await say(shop, record, "failed", external_reference="strange")
    assert await shop.unmatched() == {}
    await say(shop, record | {"payment_id": "FWU999"}, "cancelled", external_reference="strange")
    assert await shop.unmatched() == {}


async def close_it(shop, reason, id_=None):
    row = (await shop.session.scalars(select(UnmatchedPayment).where(UnmatchedPayment.reason == reason))).one()
    path = f"/v1/unmatched-payments/{id_ or row.unmatched_id}/closure"
    async with shop.service.client("finance") as finance:
        return await finance.post(path, json={"note": "Settled by telephone"})


async def test_what_finance_has_closed_comes_back_only_when_something_else_is_reported(shop):
    _, record = await paid(shop, amount=0)
    answer = await close_it(shop, "nothing_paid")
    assert (answer.status_code, answer.json()["note"]) == (200, "Settled by telephone")
    assert await shop.unmatched() == {}
    again = await close_it(shop, "nothing_paid")
    assert (again.status_code, again.json()["code"]) == (409, "unmatched_payment_ended")
    await say(shop, record, "archived")
    await close_it(shop, "unknown_status")
    shop.clock.advance(hours=1)
    await say(shop, record, "archived")
    assert await shop.unmatched() == {}
    await say(shop, record, "on hold")
    assert set(await shop.unmatched()) == {"unknown_status"}


async def test_finance_closes_what_no_order_explains(shop):
    _, record = await paid(shop)
    await shop.session.execute(update(Payment).values(reference="another"))
    await say(shop, record, "guaranteed", external_reference="strange")
    assert (await close_it(shop, "unknown_reference")).status_code == 200
    assert await shop.unmatched() == {}


async def test_a_sum_that_finance_has_closed_is_known_all_the_same(shop):
    _, record = await paid(shop)
    record["amount_to"] = 30000
    await say(shop, record, "delivered")
    shop.sandbox.set_status(record, "delivered")
    await close_it(shop, "amount_changed")
    shop.clock.advance(days=2)
    await shop.run(compare_with_provider)
    assert await shop.unmatched() == {}
