"""A refund of our payment that we did not ask for holds back the others until finance says what it paid."""

from uuid import UUID

import pytest
from sqlalchemy import select, update

from payments.commands import refund_facts
from payments.jobs import refunding, submit_refunds
from payments.tables import Refund, UnmatchedPayment
from shared.events.payments import RefundCompleted
from shared.ids import new_id

from .in_front import InFront
from .unknown_refunds import URL, close, finished, give_back, goes_on, grant, made_by_hand, paid, paid_back, status_of


async def test_while_it_is_not_explained_finance_is_shown_it_and_nothing_is_sent(driver):
    order, reference = await made_by_hand(driver)
    await give_back(driver, order, 1)
    await goes_on(driver)
    answer = await close(driver)
    assert (answer.status_code, answer.json()["code"]) == (409, "explanation_needed")
    assert await status_of(driver, order, 1) == "requested"
    # As an earlier release left it, whose finance closed it with a note alone.
    await driver.session.execute(update(UnmatchedPayment).values(ended_at=driver.clock(), ended_by="finance", note="x"))
    assert await driver.unmatched() == {}
    await goes_on(driver)
    assert set(await driver.unmatched()) == {"unknown_refund"}
    assert await paid_back(driver, reference) == [49500]


async def test_it_is_taken_in_as_the_refund_that_it_paid_and_the_others_go_on(driver):
    order, reference = await made_by_hand(driver)
    await give_back(driver, order, 1)
    await goes_on(driver)
    answer = await close(driver, **paid(await grant(driver, order, 0)))
    assert (answer.status_code, answer.json()["note"]) == (200, "By hand, see mail")
    assert await status_of(driver, order, 0) == "completed"
    await goes_on(driver)
    assert await status_of(driver, order, 1) == "completed"
    assert await paid_back(driver, reference) == [49500, 49500]
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    assert len(await driver.announced(RefundCompleted)) == 2
    assert await driver.unmatched() == {}


async def test_a_refund_whose_row_was_lost_is_not_paid_once_more_when_the_learner_asks_again(driver):
    order, reference = await made_by_hand(driver, lines=1, external=str(new_id()))
    refund_id = await give_back(driver, order, 0)
    await goes_on(driver)
    assert await status_of(driver, order, 0) == "requested"
    assert (await close(driver, **paid(refund_id))).status_code == 200
    await goes_on(driver)
    assert await status_of(driver, order, 0) == "completed"
    assert await paid_back(driver, reference) == [49500]
    assert await driver.balances() == {}


async def test_beside_one_that_paid_none_of_ours_the_others_go_on_while_the_money_lasts(driver):
    order, reference = await made_by_hand(driver)
    for line in range(3):
        await give_back(driver, order, line)
    await goes_on(driver)
    answer = await close(driver, not_ours=True)
    assert (answer.status_code, answer.json()["not_ours"]) == (200, True)
    await goes_on(driver, rounds=8)
    assert [await status_of(driver, order, line) for line in range(3)] == ["completed", "completed", "failed"]
    assert await paid_back(driver, reference) == [49500] * 3
    assert await driver.unmatched() == {}


async def test_a_part_is_taken_in_as_a_part(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    driver.sandbox.create_refund(reference, 30000, "", URL)
    refund_id = await give_back(driver, order, 0)
    await goes_on(driver)
    assert (await close(driver, **paid(refund_id))).status_code == 200
    assert await status_of(driver, order, 0) == "returned"
    assert set(await driver.unmatched()) == {"refunded_too_little"}
    assert (await driver.balances())["refund_liability"] == -19500


async def test_it_paid_no_refund_of_another_payment(driver):
    order, _ = await made_by_hand(driver)
    other, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    answer = await close(driver, **paid(await give_back(driver, other, 0)))
    assert (answer.status_code, answer.json()["code"]) == (409, "refund_of_another_payment")
    assert set(await driver.unmatched()) == {"unknown_refund"}
    assert (await driver.read(order))["lines"][0]["refund"] is None


async def test_what_the_provider_cannot_be_asked_about_stays_open(driver):
    order, _ = await made_by_hand(driver)
    refund_id = await give_back(driver, order, 0)
    row = (await driver.unmatched())["unknown_refund"]
    driver.provider.app = front = InFront(driver.provider.app, row.reference, 404, b"<html>")
    assert (await close(driver, **paid(refund_id))).status_code == 503
    front.on = False
    assert (await close(driver, **paid(refund_id))).status_code == 200
    refund = await driver.session.get_one(Refund, UUID(refund_id), populate_existing=True)
    assert refund.provider_refund_id == row.reference


async def test_one_that_is_cancelled_meanwhile_paid_nothing(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    made = driver.sandbox.create_refund(reference, 49500, "", URL)
    made["plan"] = []
    refund_id = await give_back(driver, order, 0)
    await goes_on(driver)
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    driver.sandbox.set_refund_status(made, "cancelled")
    assert (await close(driver, **paid(refund_id))).status_code == 200
    assert await status_of(driver, order, 0) == "requested"
    await goes_on(driver)
    assert await status_of(driver, order, 0) == "completed"


@pytest.mark.parametrize("both", [True, False])
async def test_it_is_explained_in_one_way_and_nothing_else_is(driver, both):
    if both:
        order, _ = await made_by_hand(driver)
        answer = await close(driver, **paid(await give_back(driver, order, 0)), not_ours=True)
    else:
        await driver.pay(await driver.open_session(await driver.order(await driver.sell())), amount=0)
        answer = await close(driver, "nothing_paid", not_ours=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "explanation_needed")
    assert not (await driver.session.scalars(select(UnmatchedPayment.not_ours))).one()


async def under_way(driver):
    """An order that is paid out, with a refund of one line's price under way that we did not ask for."""
    order, reference = await driver.buy(await driver.sell(), await driver.sell())
    await driver.deliver(reference)
    made = driver.sandbox.create_refund(reference, 49500, "", URL)
    made["plan"] = []
    await driver.sandbox.run_due()
    return order, reference, made


async def refused(driver, refund_id, *, amount, owed):
    """Naming that refund is refused, and changes nothing."""
    before = await driver.balances()
    answer = await close(driver, **paid(refund_id))
    said = answer.json()
    assert (answer.status_code, said["code"]) == (409, "paid_more_than_owed")
    assert (said["amount_minor"], said["owed_minor"]) == (amount, owed)
    assert set(await driver.unmatched()) == {"unknown_refund"}
    assert await driver.balances() == before


async def test_one_that_paid_two_lines_is_taken_in_as_neither_and_no_line_is_paid_again(driver):
    order, reference = await driver.buy(*[await driver.sell() for _ in range(3)])
    await driver.deliver(reference)
    made = driver.sandbox.create_refund(reference, 99000, "", URL)
    await goes_on(driver)
    refund_ids = [await give_back(driver, order, line) for line in range(2)]
    await goes_on(driver)
    for refund_id in refund_ids:
        await refused(driver, refund_id, amount=99000, owed=49500)
    await goes_on(driver)
    assert await paid_back(driver, reference) == [99000]
    driver.clock.advance(seconds=2)
    driver.sandbox.set_refund_status(made, "cancelled")  # as the remedy says
    await goes_on(driver, rounds=6)
    assert [await status_of(driver, order, line) for line in range(2)] == ["completed", "completed"]
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    assert await driver.unmatched() == {}


async def test_parts_are_taken_in_up_to_what_is_owed(driver):
    order, reference = await driver.buy(await driver.sell(), await driver.sell())
    await driver.deliver(reference)
    refund_id = await give_back(driver, order, 0)
    driver.sandbox.create_refund(reference, 30000, "", URL)
    await goes_on(driver)
    assert (await close(driver, **paid(refund_id))).status_code == 200
    driver.sandbox.create_refund(reference, 20000, "", URL)
    await goes_on(driver)
    answer = await close(driver, **paid(refund_id))
    assert (answer.status_code, answer.json()["owed_minor"]) == (409, 19500)


async def test_a_refund_that_is_paid_already_is_not_what_it_paid(driver):
    order, reference = await driver.buy(await driver.sell(), await driver.sell())
    await driver.deliver(reference)
    refund_id = await give_back(driver, order, 0)
    await goes_on(driver)
    driver.sandbox.create_refund(reference, 49500, "", URL)
    await goes_on(driver)
    await refused(driver, refund_id, amount=49500, owed=0)
    assert (await close(driver, **paid(await grant(driver, order, 1)))).status_code == 200
    assert await status_of(driver, order, 1) == "completed"
    assert await paid_back(driver, reference) == [49500, 49500]


async def test_one_called_none_of_ours_by_mistake_is_closed_again_with_what_it_paid(driver):
    order, _ = await made_by_hand(driver, lines=1)
    refund_id = await give_back(driver, order, 0)
    await goes_on(driver)
    path = f"/v1/unmatched-payments/{(await driver.unmatched())['unknown_refund'].unmatched_id}/closure"
    assert (await close(driver, not_ours=True)).status_code == 200
    await goes_on(driver)
    assert await status_of(driver, order, 0) == "failed"  # the payment has no more money
    async with driver.service.client("finance") as finance:
        again = await finance.post(path, json={"note": "It was", "not_ours": True})
        assert (again.status_code, again.json()["code"]) == (409, "unmatched_payment_ended")
        right = await finance.post(path, json={"note": "It was"} | paid(refund_id))
        assert (right.status_code, right.json()["not_ours"], right.json()["note"]) == (200, False, "It was")
        again = await finance.post(path, json={"note": "It was"} | paid(refund_id))
        assert (again.status_code, again.json()["code"]) == (409, "unmatched_payment_ended")
    assert await status_of(driver, order, 0) == "completed"
    assert await driver.balances() == {}
    assert await driver.unmatched() == {}


@pytest.mark.parametrize("status", ["submitting", "submitted", "completed"])
async def test_what_was_sent_beside_it_meanwhile_is_not_what_it_paid(driver, status):
    order, _ = await made_by_hand(driver)
    refund_id = await give_back(driver, order, 0)
    path = f"/v1/unmatched-payments/{(await driver.unmatched())['unknown_refund'].unmatched_id}/closure"
    assert (await close(driver, not_ours=True)).status_code == 200
    if status == "submitting":  # as a sender leaves it that gets no answer
        of_it = update(Refund).where(Refund.refund_id == UUID(refund_id))
        await driver.session.execute(of_it.values(status=status, submitted_at=driver.clock()))
    elif status == "submitted":
        await driver.run(submit_refunds)
    else:
        await goes_on(driver)
    assert await status_of(driver, order, 0) == status
    async with driver.service.client("finance") as finance:
        answer = await finance.post(path, json={"note": "It was"} | paid(refund_id))
    assert (answer.status_code, answer.json()["code"]) == (409, "paid_more_than_owed")
    assert answer.json()["owed_minor"] == 0


@pytest.mark.parametrize("looks", ["job", "callback"])
async def test_what_is_explained_while_somebody_looks_at_it_is_not_shown_again(driver, monkeypatch, looks):
    order, _, made = await under_way(driver)
    refund_id, other_id = [await give_back(driver, order, line) for line in range(2)]
    where, what = (refunding, "_match_refunds") if looks == "job" else (refund_facts, "find_refunds")
    look, answers = getattr(where, what), []

    async def and_finance_closes_it(*args):
        seen = await look(*args)
        if not answers:
            answers.append(None)
            answers.append(await close(driver, **paid(refund_id)))
        return seen

    if looks == "job":
        await finished(driver, made)
    monkeypatch.setattr(where, what, and_finance_closes_it)
    if looks == "job":
        await driver.run(submit_refunds)
    else:
        await finished(driver, made)
    assert answers[1].status_code == 200
    assert await driver.unmatched() == {}
    await goes_on(driver)
    assert [await status_of(driver, order, line) for line in range(2)] == ["completed", "completed"]
    # Such a row as an earlier release left open.
    await driver.session.execute(update(UnmatchedPayment).values(ended_at=None, ended_by=None))
    answer = await close(driver, **paid(other_id))
    assert (answer.status_code, answer.json()["code"]) == (409, "paid_another_refund")
    assert answer.json()["refund_ids"] == [refund_id]
    assert (await close(driver, **paid(refund_id))).status_code == 200
    assert await driver.unmatched() == {}


async def test_one_that_paid_none_of_ours_stays_closed_when_it_finishes(driver):
    order, reference, made = await under_way(driver)
    await give_back(driver, order, 0)
    assert (await close(driver, not_ours=True)).status_code == 200
    await finished(driver, made)
    assert await driver.unmatched() == {}
    await goes_on(driver)
    assert await status_of(driver, order, 0) == "completed"
    assert await driver.unmatched() == {}
    row = (await driver.session.scalars(select(UnmatchedPayment).execution_options(populate_existing=True))).one()
    assert (row.provider_status, row.ended_by is not None) == ("finished", True)
    assert await paid_back(driver, reference) == [49500, 49500]
