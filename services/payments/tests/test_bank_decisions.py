"""What money is follows from all: what the provider says of it, and what the bank decided last, whatever was before."""

from collections import Counter
from itertools import pairwise

import pytest
from sqlalchemy import select, update

from payments.jobs import (
    ask_about_payments,
    close_checkouts,
    compare_with_provider,
    follow_refunds,
    submit_refunds,
)
from payments.tables import Payment
from shared.events.payments import (
    DuplicateDetected,
    PaymentConfirmed,
    PaymentRestored,
    PaymentReversed,
    PaymentSettled,
    RefundCompleted,
)

from .disputes import close, delivered, dispute

PRICE = 49500


async def decide(driver, order, reference, outcome):
    """The bank decides: finance enters a dispute and closes it."""
    driver.clock.advance(hours=1)
    case = await dispute(driver, order, payment_reference=reference)
    assert case.status_code == 201, case.text
    assert (await close(driver, case.json()["dispute_id"], outcome)).status_code == 200


async def pay_again(driver, order):
    driver.clock.advance(hours=1)
    second = (await driver.pay(await driver.open_session(order)))["payment_id"]
    await driver.deliver(second)
    return second


async def pay_again_if_needed(driver, order):
    return await pay_again(driver, order) if (await driver.read(order))["status"] == "reversed" else None


async def rest(driver):
    """All that is under way ends."""
    for _ in range(6):
        await driver.run(ask_about_payments, submit_refunds, follow_refunds, close_checkouts)
        await driver.later(minutes=5)


async def compare(driver):
    driver.clock.advance(days=1, minutes=1)
    await driver.run(compare_with_provider)


def at_provider(driver, taken):
    """What the provider holds for us: payments that stand and no bank has, less what it paid back."""
    books = driver.sandbox.books
    stands = [one for one in books.all("payment") if one["status"] == "delivered" and one["payment_id"] not in taken]
    paid_back = sum(one["amount"] for one in books.all("refund") if one["status"] == "finished")
    return sum(one["amount_to"] for one in stands) - paid_back


async def the_books_are_the_providers(driver, taken=()):
    balances = await driver.balances()
    assert balances.get("cash", 0) == at_provider(driver, taken)
    assert set(balances) <= {"cash", "sales", "losses"}
    return balances


OUTCOMES = [
    ("lost",),
    ("lost", "won"),
    ("lost", "withdrawn"),
    ("lost", "lost"),
    ("won", "lost"),
    ("lost", "won", "lost"),
    ("lost", "won", "lost", "won"),
]


@pytest.mark.parametrize("again", [False, True], ids=["not paid again", "paid again"])
@pytest.mark.parametrize("status", ["delivered", "reversed"])
@pytest.mark.parametrize("outcomes", OUTCOMES, ids="-".join)
async def test_the_banks_last_decision_and_the_providers_word_say_what_a_payment_is(driver, outcomes, status, again):
    """`status`: what the provider says of the payment after the bank's first decision."""
    order, first = await delivered(driver, await driver.sell())
    second = None
    for number, outcome in enumerate(outcomes, start=1):
        if again and number == len(outcomes) > 1:
            second = await pay_again_if_needed(driver, order)
        await decide(driver, order, first, outcome)
        if number == 1 and status == "reversed":
            driver.clock.advance(hours=1)
            await driver.status(first, "reversed")
    if again and second is None:
        second = await pay_again_if_needed(driver, order)
    last = outcomes[-1]
    await rest(driver)

    is_there = status == "delivered" and last != "lost"
    shown = await driver.read(order)
    assert shown["status"] == ("paid" if is_there or second else "reversed")
    assert {one["reference"]: one["status"] for one in shown["payments"]}[first] == ("paid_out" if is_there else "lost")
    taken = {first} if last == "lost" else set()
    balances = await the_books_are_the_providers(driver, taken)
    assert balances == ({"cash": PRICE, "sales": -PRICE} if is_there or second else {})
    paid_back = [one["amount"] for one in driver.sandbox.refunds(first) if one["status"] == "finished"]
    assert paid_back == ([PRICE] if is_there and second else [])
    assert len(await driver.announced(PaymentConfirmed)) == 1
    # The order's last word is whether its money is there.
    words = await driver.announced(PaymentReversed, PaymentRestored)
    assert isinstance(words[-1], PaymentRestored) == bool(is_there or second)
    # Nobody was told twice of one loss.
    assert all(type(before) is not type(after) for before, after in pairwise(words))
    await compare(driver)
    reasons = {"taken_back_without_dispute"} if status == "reversed" and last != "lost" else set()
    assert set(await driver.unmatched()) == reasons


async def test_money_that_the_bank_gives_back_after_the_order_was_paid_again_goes_back_whole(driver):
    order, first = await delivered(driver, await driver.sell())
    await decide(driver, order, first, "lost")
    second = await pay_again(driver, order)
    await decide(driver, order, first, "won")
    [duplicate] = await driver.announced(DuplicateDetected)
    assert duplicate.amount_minor == PRICE
    await rest(driver)
    assert [one["status"] for one in driver.sandbox.refunds(first)] == ["finished"]
    assert driver.sandbox.refunds(second) == []
    assert len(await driver.announced(RefundCompleted)) == 1
    assert await the_books_are_the_providers(driver) == {"cash": PRICE, "sales": -PRICE}


async def test_money_that_comes_while_the_order_is_being_paid_again_pays_it(driver):
    order, first = await delivered(driver, await driver.sell())
    await decide(driver, order, first, "lost")
    session_id = await driver.open_session(order)
    await decide(driver, order, first, "won")
    assert (await driver.read(order))["status"] == "paid"
    await driver.run(close_checkouts)
    assert (await driver.control.post(f"/control/pay/{session_id}", json={})).status_code != 201
    assert await the_books_are_the_providers(driver) == {"cash": PRICE, "sales": -PRICE}


async def test_a_payout_that_came_while_the_bank_had_the_money_is_told_when_it_is_back(driver):
    order, first = await driver.buy(await driver.sell())
    await driver.status(first, "guaranteed")
    await decide(driver, order, first, "lost")
    driver.clock.advance(seconds=1)
    await driver.status(first, "delivered")
    assert set(await driver.unmatched()) == {"paid_after_lost_dispute"}
    assert await driver.announced(PaymentSettled) == []
    await decide(driver, order, first, "won")
    assert len(await driver.announced(PaymentSettled)) == 1
    assert await driver.unmatched() == {}
    assert await the_books_are_the_providers(driver) == {"cash": PRICE, "sales": -PRICE}


async def test_what_is_back_before_the_payout_is_shown_until_the_bank_takes_it_again(driver):
    order, first = await driver.buy(await driver.sell())
    await driver.status(first, "guaranteed")
    await decide(driver, order, first, "lost")
    await decide(driver, order, first, "won")
    assert await driver.balances() == {"provider_receivable": PRICE, "sales": -PRICE}
    assert set(await driver.unmatched()) == {"restored_after_loss"}
    await decide(driver, order, first, "lost")
    assert (await driver.balances(), await driver.unmatched()) == ({}, {})


async def test_what_the_provider_took_back_though_no_dispute_is_lost_is_shown_until_one_is(driver):
    order, first = await delivered(driver, await driver.sell())
    await decide(driver, order, first, "lost")
    driver.clock.advance(seconds=1)
    await driver.status(first, "reversed")
    assert len(await driver.announced(PaymentReversed)) == 1
    await decide(driver, order, first, "won")
    assert (await driver.unmatched())["taken_back_without_dispute"].reference == first
    assert (await driver.read(order))["status"] == "reversed"
    assert await driver.announced(PaymentRestored) == []
    await decide(driver, order, first, "lost")
    assert await driver.unmatched() == {}
    assert await driver.balances() == {}


async def test_what_revives_after_the_bank_gave_it_back_is_there_again(driver):
    order, first = await driver.buy(await driver.sell())
    await decide(driver, order, first, "lost")
    await driver.status(first, "cancelled")
    await decide(driver, order, first, "won")
    assert set(await driver.unmatched()) == {"taken_back_without_dispute"}
    driver.clock.advance(hours=1)
    await driver.status(first, "processed")
    assert (await driver.read(order))["status"] == "paid"
    await driver.deliver(first)
    assert await the_books_are_the_providers(driver) == {"cash": PRICE, "sales": -PRICE}
    assert await driver.unmatched() == {}


@pytest.mark.parametrize("until", ["requested", "submitted", "completed"])
async def test_a_line_goes_back_once_though_its_money_was_gone_and_back(driver, until):
    order, first = await delivered(driver, await driver.sell(), await driver.sell(title="Strategy"))
    await driver.refund(order)
    if until != "requested":
        await driver.run(submit_refunds)
    if until == "completed":
        await rest(driver)
    await decide(driver, order, first, "lost")
    await decide(driver, order, first, "won")
    await rest(driver)
    shown = await driver.read(order)
    assert (shown["status"], shown["lines"][0]["refund"]["status"]) == ("partly_refunded", "completed")
    assert [one["amount"] for one in driver.sandbox.refunds(first)] == [PRICE]
    assert await the_books_are_the_providers(driver) == {"cash": PRICE, "sales": -PRICE}
    assert await driver.unmatched() == {}


@pytest.mark.parametrize("until", ["requested", "submitted", "completed"])
async def test_nor_does_it_go_back_twice_where_the_order_was_paid_again(driver, until):
    order, first = await delivered(driver, await driver.sell(), await driver.sell(title="Strategy"))
    await driver.refund(order)
    if until != "requested":
        await driver.run(submit_refunds)
    if until == "completed":
        await rest(driver)
    await decide(driver, order, first, "lost")
    await pay_again(driver, order)
    await decide(driver, order, first, "won")
    await rest(driver)
    back = Counter()
    for refund in driver.sandbox.books.all("refund"):
        back[refund["payment_id"]] += refund["amount"] * (refund["status"] == "finished")
    assert back[first] == 2 * PRICE
    balances = await the_books_are_the_providers(driver)
    assert balances == {"cash": PRICE, "sales": -PRICE}
    assert await driver.unmatched() == {}


async def test_while_a_second_dispute_is_open_the_first_one_counts(driver):
    order, first = await delivered(driver, await driver.sell())
    await decide(driver, order, first, "lost")
    assert (await dispute(driver, order, payment_reference=first)).status_code == 201
    await compare(driver)
    await rest(driver)
    assert ((await driver.read(order))["status"], await driver.balances()) == ("reversed", {})
    assert await driver.unmatched() == {}


async def test_the_comparison_sees_money_that_stands_there_and_is_lost_here_though_the_bank_gave_it_back(driver):
    order, first = await delivered(driver, await driver.sell())
    await compare(driver)
    assert await driver.unmatched() == {}
    await decide(driver, order, first, "lost")
    await decide(driver, order, first, "won")
    payment = (await driver.session.scalars(select(Payment))).one()
    await driver.session.execute(update(Payment).values(state="lost"))  # as a former release left it
    await driver.session.refresh(payment)
    await compare(driver)
    assert (await driver.unmatched())["differs_from_provider"].reference == first
    await decide(driver, order, first, "won")
    await compare(driver)
    assert await driver.unmatched() == {}
    assert (await driver.read(order))["status"] == "paid"
    assert await the_books_are_the_providers(driver) == {"cash": PRICE, "sales": -PRICE}
