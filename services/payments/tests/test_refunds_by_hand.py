"""One refund that was made by hand at the provider pays several of ours, and more than they owe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from payments.domain.refunds import divide
from payments.domain.unmatched import PaidMoreThanOwed, PaidPart, PartsDoNotAddUp, shares_of
from payments.jobs import compare_with_provider, follow_refunds
from payments.tables import ProviderRefund, Refund, UnmatchedPayment
from shared.events.payments import RefundCompleted
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail

from .unknown_refunds import URL, close, finished, give_back, goes_on, paid, paid_back, status_of

ONE, OTHER, THIRD = 49500, 59500, 20000


async def by_hand(driver, amount=ONE + OTHER, *, ask=2, under_way=False):
    """A delivered order of three lines; refunds of the first are asked for, and one by hand was made at the provider."""
    titles = zip((ONE, OTHER, THIRD), ("Statistical Inference", "Machine Learning", "Causality"), strict=True)
    order, reference = await driver.buy(*[await driver.sell(price, title) for price, title in titles])
    await driver.deliver(reference)
    made = driver.sandbox.create_refund(reference, amount, "", URL)
    if under_way:
        made["plan"] = []
        await driver.sandbox.run_due()
    else:
        await goes_on(driver)
    return order, reference, made, [await give_back(driver, order, line) for line in range(ask)]


async def statuses(driver, order, lines=2):
    return [await status_of(driver, order, line) for line in range(lines)]


async def letters(driver, kind):
    return sorted((await driver.session.scalars(select(QueuedEmail.text).where(QueuedEmail.kind == kind))).all())


def of_gbp(refund_id, amount):
    return {"refund_id": refund_id, "amount_minor": amount}


async def stands(driver):
    """What is known of refunds, in the rows and in the books."""
    rows = await driver.session.execute(select(Refund.refund_id, Refund.status, Refund.revision))
    made = await driver.session.scalar(select(func.count()).select_from(ProviderRefund))
    return sorted(rows.all()), made, await driver.balances(), set(await driver.unmatched())


@pytest.mark.parametrize("amounts", [(None, None), (ONE, OTHER), (None, OTHER)])
async def test_it_is_taken_in_as_all_that_it_paid_and_the_others_go_on(driver, amounts):
    order, reference, _, refund_ids = await by_hand(driver, ask=3)
    await goes_on(driver)
    assert await statuses(driver, order, 3) == ["requested"] * 3
    parts = [of_gbp(*one) for one in zip(refund_ids, amounts, strict=False)]
    answer = await close(driver, paid=parts)
    assert (answer.status_code, answer.json()["ended_by"] is not None) == (200, True), answer.text
    assert await statuses(driver, order, 3) == ["completed", "completed", "requested"]
    assert await driver.balances() == {"cash": THIRD, "refund_liability": -THIRD}
    paid_letters = await letters(driver, "refund_finished")
    assert [("£495.00 for Statistical" in one, "£595.00 for Machine" in one) for one in paid_letters] == [
        (True, False),
        (False, True),
    ]
    await goes_on(driver)
    assert await paid_back(driver, reference) == [ONE + OTHER, THIRD]
    done = await driver.announced(RefundCompleted)
    assert sorted(one.amount_minor for one in done) == [THIRD, ONE, OTHER]
    assert (await driver.balances(), await driver.unmatched()) == ({}, {})


async def told(driver, made, status, how):
    """The provider's refund changes, and we hear of it by a callback, by a question, or by the daily list."""
    await driver.control.put("/control/callbacks", json={"mode": "deliver" if how == "callback" else "drop"})
    driver.clock.advance(seconds=2)
    driver.sandbox.set_refund_status(made, status)
    await driver.sandbox.run_due()
    if how == "question":
        await driver.later(days=1, minutes=1)
        await driver.run(follow_refunds)
    elif how == "list":
        driver.clock.advance(days=1, minutes=1)
        await driver.run(compare_with_provider)


@pytest.mark.parametrize("how", ["callback", "question", "list"])
async def test_what_becomes_of_it_later_becomes_of_every_part(driver, how):
    order, reference, made, refund_ids = await by_hand(driver, under_way=True)
    assert (await close(driver, **paid(*refund_ids))).status_code == 200
    assert await statuses(driver, order) == ["returned", "returned"]
    assert (await driver.balances())["refund_liability"] == -(ONE + OTHER)
    await told(driver, made, "finished", how)
    assert await statuses(driver, order) == ["completed", "completed"]
    assert await driver.balances() == {"cash": THIRD, "sales": -THIRD}
    # A finished refund is not asked about any more.
    await told(driver, made, "returned", "list" if how == "question" else how)
    assert await statuses(driver, order) == ["returned", "returned"]
    assert (await driver.balances())["refund_liability"] == -(ONE + OTHER)
    await told(driver, made, "received", how)
    await told(driver, made, "finished", how)
    assert await statuses(driver, order) == ["completed", "completed"]
    assert await driver.balances() == {"cash": THIRD, "sales": -THIRD}
    assert len(await letters(driver, "refund_finished")) == 4
    await told(driver, made, "finished", "list")
    assert await driver.unmatched() == {}
    assert len(driver.sandbox.refunds(reference)) == 1


async def test_one_that_is_cancelled_after_all_leaves_every_part_to_be_sent_again(driver):
    order, reference, made, refund_ids = await by_hand(driver, under_way=True)
    assert (await close(driver, **paid(*refund_ids))).status_code == 200
    driver.clock.advance(seconds=2)
    driver.sandbox.set_refund_status(made, "cancelled")
    await driver.sandbox.run_due()
    assert await statuses(driver, order) == ["failed", "failed"]
    async with driver.service.client("finance") as finance:
        for one in refund_ids:
            assert (await finance.post(f"/v1/orders/{order['order_id']}/refunds/{one}/retry")).status_code == 200
    await goes_on(driver, rounds=6)
    assert await statuses(driver, order) == ["completed", "completed"]
    assert await paid_back(driver, reference) == [ONE, OTHER]
    assert await driver.balances() == {"cash": THIRD, "sales": -THIRD}
    assert await driver.unmatched() == {}


REFUSED = {
    "one that is paid": (ONE + OTHER, lambda one, _: [of_gbp(one, None)], 0, "paid_more_than_owed"),
    "too much of one": (
        ONE + OTHER,
        lambda *both: [of_gbp(both[0], OTHER), of_gbp(both[1], ONE)],
        0,
        "paid_more_than_owed",
    ),
    "more than it is": (OTHER, lambda *both: [of_gbp(both[0], ONE), of_gbp(both[1], OTHER)], 0, "parts_do_not_add_up"),
    "nothing left": (ONE, lambda *both: [of_gbp(one, None) for one in both], 0, "parts_do_not_add_up"),
    "less than it is": (ONE, lambda one, _: [of_gbp(one, 10000)], 0, "parts_do_not_add_up"),
    "more, unsaid": (ONE + OTHER + 500, lambda *both: [of_gbp(one, None) for one in both], 0, "paid_more_than_owed"),
    "more, partly said": (ONE + 500, lambda one, _: [of_gbp(one, None)], 400, "paid_more_than_owed"),
    "beyond, but owed": (ONE, lambda one, _: [of_gbp(one, 10000)], ONE - 10000, "parts_do_not_add_up"),
    "nothing beyond": (ONE, lambda one, _: [of_gbp(one, None)], 500, "parts_do_not_add_up"),
}


@pytest.mark.parametrize("how", REFUSED)
async def test_what_does_not_fit_is_refused_and_changes_nothing(driver, how):
    amount, parts, not_owed, code = REFUSED[how]
    _, reference, _, refund_ids = await by_hand(driver, amount)
    before = await stands(driver)
    answer = await close(driver, paid=parts(*refund_ids), not_owed_minor=not_owed)
    assert (answer.status_code, answer.json()["code"]) == (409, code), answer.text
    assert await stands(driver) == before
    await goes_on(driver)
    assert await paid_back(driver, reference) == [amount]


async def test_it_pays_none_of_another_payment_beside_its_own(driver):
    _, _, _, [refund_id, _] = await by_hand(driver)
    other, reference = await driver.buy(await driver.sell(OTHER))
    await driver.deliver(reference)
    other_id = await give_back(driver, other, 0)
    before = await stands(driver)
    for both in ([refund_id, other_id], [other_id, refund_id]):
        answer = await close(driver, **paid(*both))
        assert (answer.status_code, answer.json()["code"]) == (409, "refund_of_another_payment")
    assert await stands(driver) == before


@pytest.mark.parametrize("body", [{"paid": ["one", "one"]}, {"paid": [], "not_owed_minor": 500}])
async def test_each_is_named_once_and_what_is_beyond_is_beyond_some(driver, body):
    _, _, _, [refund_id, _] = await by_hand(driver)
    answer = await close(driver, **body | {"paid": [{"refund_id": refund_id} for _ in body["paid"]]})
    assert answer.status_code == 422


async def test_parts_of_what_is_owed_leave_the_rest_to_be_sent(driver):
    order, reference, _, refund_ids = await by_hand(driver, 60000)
    parts = [of_gbp(refund_ids[0], ONE), of_gbp(refund_ids[1], 60000 - ONE)]
    assert (await close(driver, paid=parts)).status_code == 200
    assert await statuses(driver, order) == ["completed", "returned"]
    assert set(await driver.unmatched()) == {"refunded_too_little"}
    assert (await driver.balances())["refund_liability"] == -(ONE + OTHER - 60000)
    async with driver.service.client("finance") as finance:
        path = f"/v1/orders/{order['order_id']}/refunds/{refund_ids[1]}/retry"
        assert (await finance.post(path)).status_code == 200
    await goes_on(driver)
    assert await paid_back(driver, reference) == [60000, ONE + OTHER - 60000]
    assert await statuses(driver, order) == ["completed", "completed"]
    assert await driver.balances() == {"cash": THIRD, "sales": -THIRD}
    assert await driver.unmatched() == {}


async def test_all_that_it_paid_in_part_are_named_until_each_has_its_rest(driver):
    order, _, _, refund_ids = await by_hand(driver, 60000)
    parts = [of_gbp(refund_ids[0], 20000), of_gbp(refund_ids[1], 40000)]
    assert (await close(driver, paid=parts)).status_code == 200
    named = [sorted(refund_ids), [refund_ids[1]], []]
    for again, still in zip([None, *refund_ids], named, strict=True):
        if again:
            async with driver.service.client("finance") as finance:
                path = f"/v1/orders/{order['order_id']}/refunds/{again}/retry"
                assert (await finance.post(path)).status_code == 200
            await goes_on(driver)
        shown = await driver.unmatched()
        assert [one.external_reference for one in shown.values()] == [", ".join(still)] * bool(still)
    assert await statuses(driver, order) == ["completed", "completed"]
    assert await driver.balances() == {"cash": THIRD, "sales": -THIRD}


@pytest.mark.parametrize("named", [1, 2])
async def test_what_is_beyond_is_a_loss_until_it_comes_back(driver, named):
    owed = (ONE, ONE + OTHER)[named - 1]
    order, reference, made, refund_ids = await by_hand(driver, owed + 500, ask=named)
    assert (await close(driver, **paid(*refund_ids), not_owed_minor=500)).status_code == 200
    assert await statuses(driver, order, named) == ["completed"] * named
    sold = ONE + OTHER + THIRD - owed
    assert await driver.balances() == {"cash": sold - 500, "sales": -sold, "losses": 500}
    [row] = (await driver.unmatched()).values()
    assert (row.reason, row.amount_minor) == ("paid_out_too_much", 500)
    assert len(await letters(driver, "refund_finished")) == named
    await told(driver, made, "finished", "list")
    assert set(await driver.unmatched()) == {"paid_out_too_much"}
    await told(driver, made, "returned", "callback")
    assert await statuses(driver, order, named) == ["returned"] * named
    assert await driver.balances() == {"cash": sold + owed, "sales": -sold, "refund_liability": -owed}
    assert await driver.unmatched() == {}
    assert len(driver.sandbox.refunds(reference)) == 1


async def test_what_was_called_none_of_ours_is_corrected_with_all_that_it_paid(driver):
    order, _, _, refund_ids = await by_hand(driver)
    path = f"/v1/unmatched-payments/{(await driver.unmatched())['unknown_refund'].unmatched_id}/closure"
    assert (await close(driver, not_ours=True)).status_code == 200
    async with driver.service.client("finance") as finance:
        answer = await finance.post(path, json={"note": "Two lines"} | paid(*refund_ids))
        assert (answer.status_code, answer.json()["not_ours"]) == (200, False)
    assert await statuses(driver, order) == ["completed", "completed"]
    assert await driver.balances() == {"cash": THIRD, "sales": -THIRD}
    assert await driver.unmatched() == {}


async def test_what_was_paid_again_beside_it_is_a_loss_when_that_is_corrected(driver):
    """Called none of ours, it was of the first two; the third, sent beside it, takes the last of the money."""
    order, reference, _, refund_ids = await by_hand(driver, THIRD + ONE, ask=1)
    path = f"/v1/unmatched-payments/{(await driver.unmatched())['unknown_refund'].unmatched_id}/closure"
    assert (await close(driver, not_ours=True)).status_code == 200
    await goes_on(driver)
    assert await statuses(driver, order, 1) == ["completed"]
    third = await give_back(driver, order, 2)
    async with driver.service.client("finance") as finance:
        again = await finance.post(path, json={"note": "Both"} | paid(third, *refund_ids))
        assert (again.status_code, again.json()["code"]) == (409, "paid_more_than_owed")
        right = await finance.post(path, json={"note": "Both", "not_owed_minor": ONE} | paid(third))
        assert right.status_code == 200, right.text
    assert await status_of(driver, order, 2) == "completed"
    assert await paid_back(driver, reference) == [THIRD + ONE, ONE]
    assert await driver.balances() == {"cash": OTHER - ONE, "sales": -OTHER, "losses": ONE}
    assert set(await driver.unmatched()) == {"paid_out_too_much"}


async def test_the_refund_that_was_paid_again_itself_is_named_where_nothing_else_was_owed(driver):
    _, _, _, refund_ids = await by_hand(driver, ONE, ask=1)
    path = f"/v1/unmatched-payments/{(await driver.unmatched())['unknown_refund'].unmatched_id}/closure"
    assert (await close(driver, not_ours=True)).status_code == 200
    await goes_on(driver)
    async with driver.service.client("finance") as finance:
        assert (await finance.post(path, json={"note": "Twice"} | paid(*refund_ids))).status_code == 409
        right = await finance.post(path, json={"note": "Twice", "not_owed_minor": ONE} | paid(*refund_ids))
        assert right.status_code == 200, right.text
    sold = OTHER + THIRD
    assert await driver.balances() == {"cash": sold - ONE, "sales": -sold, "losses": ONE}
    assert set(await driver.unmatched()) == {"paid_out_too_much"}


async def test_one_that_is_known_is_named_with_all_that_it_paid(driver):
    _, _, made, refund_ids = await by_hand(driver, under_way=True)
    assert (await close(driver, **paid(*refund_ids))).status_code == 200
    # As an earlier release left it.
    await driver.session.execute(update(UnmatchedPayment).values(ended_at=None, ended_by=None))
    answer = await close(driver, **paid(refund_ids[0]))
    assert (answer.status_code, answer.json()["code"]) == (409, "paid_another_refund")
    assert set(answer.json()["refund_ids"]) == set(refund_ids)
    assert (await close(driver, **paid(*reversed(refund_ids)))).status_code == 200
    await finished(driver, made)
    assert await driver.unmatched() == {}


async def test_what_differs_of_one_part_is_shown_until_that_part_is_right(driver):
    """The other part is right all the while, and is of the same refund at the provider."""
    order, reference, made, refund_ids = await by_hand(driver)
    assert (await close(driver, **paid(*refund_ids))).status_code == 200
    twice = driver.sandbox.create_refund(reference, THIRD, refund_ids[0], URL)
    await goes_on(driver)
    assert set(await driver.unmatched()) == {"refunded_twice", "paid_out_too_much"}
    await told(driver, made, "returned", "callback")
    await told(driver, made, "received", "callback")
    await told(driver, made, "finished", "callback")
    assert set(await driver.unmatched()) == {"refunded_twice", "paid_out_too_much"}
    await told(driver, twice, "returned", "callback")
    await told(driver, twice, "cancelled", "callback")
    assert await driver.unmatched() == {}
    assert await driver.balances() == {"cash": THIRD, "sales": -THIRD}
    assert await statuses(driver, order) == ["completed", "completed"]


@given(st.data())
def test_shares_are_of_what_is_owed_and_with_what_is_beyond_all_of_it(data):
    sums = st.integers(1, 300)
    owed = {new_id(): one for one in data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=4))}
    parts = [PaidPart(one, data.draw(st.none() | sums)) for one in owed]
    amount, beyond = data.draw(sums), data.draw(st.just(0) | sums)
    try:
        shares = shares_of(amount, parts, owed, beyond)
    except (PaidMoreThanOwed, PartsDoNotAddUp):
        return
    assert sum(shares.values()) + beyond == amount
    assert all(0 <= shares[one] <= owed[one] for one in owed)
    assert all(part.amount_minor in {None, shares[part.refund_id]} for part in parts)
    assert not beyond or shares == owed


@given(st.lists(st.integers(0, 100), min_size=1), st.integers(0, 1000))
def test_a_refund_is_divided_by_its_shares_whatever_it_is_reported_to_be(shares, amount):
    parts = divide(amount, shares)
    assert sum(parts) == amount
    assert all(part <= share for part, share in zip(parts[:-1], shares, strict=False))
    assert amount != sum(shares) or parts == shares
    assert divide(amount, [None]) == [amount]
