"""What a replica wrote whose clock stood ahead holds nobody up, and holds no price."""

from datetime import timedelta

from sqlalchemy import update

from payments.domain.policy import policy_of
from payments.jobs import return_underpaid
from payments.tables import Order, Payment
from shared.due_times import bring_forward
from shared.events.payments import RefundRequested

AHEAD = timedelta(days=400)


async def heal(shop):
    declared = shop.service.service.due_times
    return await bring_forward(shop.service.process.database, declared)


async def test_an_order_has_its_whole_time_anew_and_then_ends(shop):
    order = await shop.order(await shop.sell())
    await shop.session.execute(update(Order).values(expires_at=Order.expires_at + AHEAD))
    assert await heal(shop) == 1
    assert await heal(shop) == 0
    [row] = (await shop.session.scalars(Order.__table__.select().with_only_columns(Order.expires_at))).all()
    assert row == shop.clock() + policy_of("mc-regs-2026.2").order
    assert (await shop.read(order))["status"] == "placed"


async def test_so_has_one_that_can_be_paid_again(shop):
    _, reference = await shop.buy(await shop.sell())
    shop.clock.advance(seconds=1)
    await shop.status(reference, "cancelled")
    await shop.session.execute(update(Order).values(expires_at=Order.expires_at + AHEAD))
    assert await heal(shop) == 1
    [row] = (await shop.session.scalars(Order.__table__.select().with_only_columns(Order.expires_at))).all()
    assert row == shop.clock() + policy_of("mc-regs-2026.2").repayment


async def test_what_is_over_or_honest_is_left_alone(shop):
    order, _ = await shop.buy(await shop.sell())
    await shop.session.execute(update(Order).values(expires_at=Order.expires_at + AHEAD))
    assert await heal(shop) == 0
    assert (await shop.read(order))["status"] == "paid"
    await shop.order(await shop.sell())
    assert await heal(shop) == 0


async def test_a_quote_that_ends_later_than_one_could_holds_no_price(shop):
    course_id = await shop.sell()
    order = await shop.order(course_id)
    await shop.session.execute(update(Order).values(quote_ends_at=Order.quote_ends_at + AHEAD))
    await shop.price(course_id, 99900, shop.clock())
    refused = await shop.checkout(order)
    assert (refused.status_code, refused.json()["code"]) == (409, "price_changed")


async def test_too_little_goes_back_in_time_whatever_clock_saw_it_come(shop):
    order = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(order), amount=100)
    await shop.session.execute(update(Payment).values(funded_at=Payment.funded_at + AHEAD))
    assert await heal(shop) == 1
    shop.clock.advance(days=15)
    await shop.run(return_underpaid)
    assert [one.amount_minor for one in await shop.announced(RefundRequested)] == [100]
