"""Money that is taken back while its refund is being sent: nothing is owed any more, and nobody is informed otherwise."""

import pytest
from sqlalchemy import select, update

from payments.adapters.provider import ProviderRefused
from payments.jobs import compare_with_provider, submit_refunds
from payments.tables import Refund
from shared.events.payments import RefundFailed
from shared.messaging.tables import QueuedEmail

from .disputes import close, dispute


@pytest.fixture
async def bought(driver):
    """A paid and delivered order of two lines, the first of which is to go back; and the payment's reference."""
    order, reference = await driver.buy(await driver.sell(), await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    return order, reference


def taken_back(driver, monkeypatch, reference, *, announced):
    """The provider takes the payment back when the refund is as good as sent, and so refuses it. `announced`: we learn of it
    before the refusal."""
    create = driver.provider.create_refund

    async def refused(reference, amount, ours, still_ours):
        async def go_on():
            assert await still_ours()
            driver.clock.advance(seconds=1)
            driver.sandbox.set_status(driver.sandbox.payment(reference), "reversed")
            if announced:
                await driver.sandbox.run_due()
            return True

        return await create(reference, amount, ours, go_on)

    monkeypatch.setattr(driver.provider, "create_refund", refused)


async def refund_of(driver, order):
    return (await driver.read(order))["lines"][0]["refund"]["status"]


async def nothing_is_owed(driver, order):
    assert (await driver.read(order))["status"] == "reversed"
    assert await refund_of(driver, order) == "cancelled"
    assert await driver.balances() == {}
    assert await driver.announced(RefundFailed) == []
    assert "refund_delayed" not in set(await driver.session.scalars(select(QueuedEmail.kind)))
    assert await driver.unmatched() == {}


@pytest.mark.parametrize("announced", [True, False])
async def test_a_refund_that_is_refused_for_its_money_is_gone_is_cancelled(driver, bought, monkeypatch, announced):
    order, reference = bought
    with monkeypatch.context() as patch:
        taken_back(driver, patch, reference, announced=announced)
        await driver.run(submit_refunds)
    await nothing_is_owed(driver, order)


async def test_a_refund_that_is_refused_while_the_bank_takes_its_money_is_cancelled(driver, bought, monkeypatch):
    order, _ = bought

    async def refused(*_):
        case = await dispute(driver, order)
        await close(driver, case.json()["dispute_id"], "lost")
        raise ProviderRefused("not this one", provider_status=422)  # and to the provider the payment is as it was

    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "create_refund", refused)
        await driver.run(submit_refunds)
    await nothing_is_owed(driver, order)


async def test_nothing_is_shown_as_paid_out_too_much_before_a_penny_was(driver, bought, monkeypatch):
    order, reference = bought
    look = driver.provider.refunds_of

    async def slowly(*arguments):
        driver.clock.advance(seconds=1)
        await driver.status(reference, "reversed")
        assert await driver.unmatched() == {}
        return await look(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "refunds_of", slowly)
        await driver.run(submit_refunds)
    assert await refund_of(driver, order) == "cancelled"
    assert await driver.unmatched() == {}
    assert await driver.balances() == {}


async def test_what_is_owed_in_the_books_and_in_no_refund_is_shown(driver, bought):
    _, reference = bought
    await driver.session.execute(update(Refund).values(status="cancelled"))
    driver.clock.advance(hours=7)
    await driver.run(compare_with_provider)
    assert (await driver.unmatched())["books_differ"].reference == reference
