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
async def bought(shop):
    """A paid and delivered order of two lines, the first of which is to go back; and the payment's reference."""
    order, reference = await shop.buy(await shop.sell(), await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    return order, reference


def taken_back(shop, monkeypatch, reference, *, announced):
    """The provider takes the payment back when the refund is as good as sent, and so refuses it. `announced`: we learn of it
    before the refusal."""
    create = shop.provider.create_refund

    async def refused(reference, amount, ours, still_ours):
        async def go_on():
            assert await still_ours()
            shop.clock.advance(seconds=1)
            shop.sandbox.set_status(shop.sandbox.payment(reference), "reversed")
            if announced:
                await shop.sandbox.run_due()
            return True

        return await create(reference, amount, ours, go_on)

    monkeypatch.setattr(shop.provider, "create_refund", refused)


async def refund_of(shop, order):
    return (await shop.read(order))["lines"][0]["refund"]["status"]


async def nothing_is_owed(shop, order):
    assert (await shop.read(order))["status"] == "reversed"
    assert await refund_of(shop, order) == "cancelled"
    assert await shop.balances() == {}
    assert await shop.announced(RefundFailed) == []
    assert "refund_delayed" not in set(await shop.session.scalars(select(QueuedEmail.kind)))
    assert await shop.unmatched() == {}


@pytest.mark.parametrize("announced", [True, False])
async def test_a_refund_that_is_refused_for_its_money_is_gone_is_cancelled(shop, bought, monkeypatch, announced):
    order, reference = bought
    with monkeypatch.context() as patch:
        taken_back(shop, patch, reference, announced=announced)
        await shop.run(submit_refunds)
    await nothing_is_owed(shop, order)


async def test_a_refund_that_is_refused_while_the_bank_takes_its_money_is_cancelled(shop, bought, monkeypatch):
    order, _ = bought

    async def refused(*_):
        case = await dispute(shop, order)
        await close(shop, case.json()["dispute_id"], "lost")
        raise ProviderRefused("not this one", provider_status=422)  # and to the provider the payment is as it was

    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "create_refund", refused)
        await shop.run(submit_refunds)
    await nothing_is_owed(shop, order)


async def test_nothing_is_shown_as_paid_out_too_much_before_a_penny_was(shop, bought, monkeypatch):
    order, reference = bought
    look = shop.provider.refunds_of

    async def slowly(*arguments):
        shop.clock.advance(seconds=1)
        await shop.status(reference, "reversed")
        assert await shop.unmatched() == {}
        return await look(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "refunds_of", slowly)
        await shop.run(submit_refunds)
    assert await refund_of(shop, order) == "cancelled"
    assert await shop.unmatched() == {}
    assert await shop.balances() == {}


async def test_what_is_owed_in_the_books_and_in_no_refund_is_shown(shop, bought):
    _, reference = bought
    await shop.session.execute(update(Refund).values(status="cancelled"))
    shop.clock.advance(hours=7)
    await shop.run(compare_with_provider)
    assert (await shop.unmatched())["books_differ"].reference == reference
