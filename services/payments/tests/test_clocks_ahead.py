"""What a replica wrote whose clock stood ahead holds nobody up, and holds no price."""

from datetime import timedelta

from sqlalchemy import update

from payments.domain.policy import policy_of
from payments.jobs import return_underpaid
from payments.tables import Order, Payment
from shared.due_times import bring_forward
from shared.events.payments import RefundRequested

AHEAD = timedelta(days=400)


async def heal(driver):
    declared = driver.service.service.due_times
    return await bring_forward(driver.service.process.database, declared)


async def test_an_order_has_its_whole_time_anew_and_then_ends(driver):
    order = await driver.order(await driver.sell())
    await driver.session.execute(update(Order).values(expires_at=Order.expires_at + AHEAD))
    assert await heal(driver) == 1
    assert await heal(driver) == 0
    [row] = (await driver.session.scalars(Order.__table__.select().with_only_columns(Order.expires_at))).all()
    assert row == driver.clock() + policy_of("mc-regs-2026.2").order
    assert (await driver.read(order))["status"] == "placed"


async def test_so_has_one_that_can_be_paid_again(driver):
    _, reference = await driver.buy(await driver.sell())
    driver.clock.advance(seconds=1)
    await driver.status(reference, "cancelled")
    await driver.session.execute(update(Order).values(expires_at=Order.expires_at + AHEAD))
    assert await heal(driver) == 1
    [row] = (await driver.session.scalars(Order.__table__.select().with_only_columns(Order.expires_at))).all()
    assert row == driver.clock() + policy_of("mc-regs-2026.2").repayment


async def test_what_is_over_or_honest_is_left_alone(driver):
    order, _ = await driver.buy(await driver.sell())
    await driver.session.execute(update(Order).values(expires_at=Order.expires_at + AHEAD))
    assert await heal(driver) == 0
    assert (await driver.read(order))["status"] == "paid"
    await driver.order(await driver.sell())
    assert await heal(driver) == 0


async def test_a_quote_that_ends_later_than_one_could_holds_no_price(driver):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    await driver.session.execute(update(Order).values(quote_ends_at=Order.quote_ends_at + AHEAD))
    await driver.price(course_id, 99900, driver.clock())
    refused = await driver.checkout(order)
    assert (refused.status_code, refused.json()["code"]) == (409, "price_changed")


async def test_too_little_goes_back_in_time_whatever_clock_saw_it_come(driver):
    order = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(order), amount=100)
    await driver.session.execute(update(Payment).values(funded_at=Payment.funded_at + AHEAD))
    assert await heal(driver) == 1
    driver.clock.advance(days=15)
    await driver.run(return_underpaid)
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [100]
