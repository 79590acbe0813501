"""An order whose payment was taken back is paid again for what is as before then, and for nothing else."""

from uuid import UUID

import pytest
from sqlalchemy import select

from payments.jobs import close_checkouts, submit_refunds
from payments.tables import CheckoutAttempt
from shared.events.assessment import CreditRevoked
from shared.events.payments import DuplicateDetected, PaymentRestored, RefundRequested
from shared.ids import new_id

from .disputes import close, dispute, refused
from .endings import OF_BOTH, OF_ONE, OF_OTHER, bought, e_mailed, end, grant, lose
from .orders import order_anew, said

ENDS = ["withdrawn", "payment_lost", "failed", "attempts exhausted"]


async def asked(driver, order):
    answer = await driver.checkout(order)
    assert answer.status_code == 201, answer.text
    return answer.json()["amount"]["amount_minor"]


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("first", ["the end", "the loss"])
async def test_what_has_ended_is_not_paid_again(driver, kind, first):
    order, payment, enrolments = await bought(driver, OF_ONE, OF_OTHER)
    ended = end(driver, order, enrolments, kind)
    if first == "the end":
        await driver.consume(ended)
    await lose(driver, payment)
    await driver.consume(ended, ended)
    assert await asked(driver, order) == OF_OTHER


@pytest.mark.parametrize("kind", ENDS)
async def test_where_nothing_is_left_to_pay_no_pay_page_opens(driver, kind):
    order, payment, enrolments = await bought(driver, OF_ONE)
    await lose(driver, payment)
    await driver.consume(end(driver, order, enrolments, kind))
    assert said(await driver.checkout(order)) == (409, "order_not_payable")


async def test_the_payment_pays_for_the_rest_and_the_letters_and_the_receipt_say_so(driver):
    order, first, enrolments = await bought(driver, OF_ONE, OF_OTHER)
    await driver.consume(end(driver, order, enrolments))
    await lose(driver, first)
    [taken_back] = await e_mailed(driver, "payment_reversed")
    assert "Still Wanted" in taken_back
    assert "Given Up" not in taken_back
    assert "£595.00 is due for it" in taken_back
    second = (await driver.pay(await driver.open_session(order)))["payment_id"]
    assert (await driver.read(order))["status"] == "paid"
    [paid_again] = await e_mailed(driver, "payment_repaid")
    assert "Still Wanted" in paid_again
    assert "Given Up" not in paid_again
    assert await driver.balances() == {"provider_receivable": OF_OTHER, "sales": -OF_OTHER}
    async with driver.learner() as client:
        receipt = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
    assert (receipt["total"]["amount_minor"], [line["title"] for line in receipt["lines"]]) == (
        OF_OTHER,
        ["Still Wanted"],
    )
    await driver.deliver(second)
    assert await driver.announced(RefundRequested) == []
    # What it did not pay for is not given back from it.
    refused(await driver.refund(order, 0), 409, "refund_already_requested")


async def test_lost_money_that_comes_after_the_rest_was_paid_goes_back_whole(driver):
    order, first, enrolments = await bought(driver, OF_ONE, OF_OTHER)
    case = (await dispute(driver, order)).json()
    await close(driver, case["dispute_id"], "lost")
    await driver.consume(end(driver, order, enrolments))
    await driver.pay(await driver.open_session(order))
    another = (await dispute(driver, order, payment_reference=first)).json()
    await close(driver, another["dispute_id"], "won")
    assert len(await driver.announced(DuplicateDetected)) == 1
    for _ in range(4):
        await driver.run(submit_refunds)
        for _ in range(4):
            await driver.later(minutes=2)
    back = {(one["payment_id"], one["amount"], one["status"]) for one in driver.sandbox.books.all("refund")}
    assert back == {(first, OF_BOTH, "finished")}


async def test_what_was_given_up_in_a_dispute_is_in_no_letter_about_it(driver):
    order, _, enrolments = await bought(driver, OF_ONE)
    case = (await dispute(driver, order)).json()
    await driver.consume(end(driver, order, enrolments))
    await close(driver, case["dispute_id"], "lost")
    [taken_back] = await e_mailed(driver, "payment_reversed")
    assert "Nothing of the order is left to pay." in taken_back
    assert "Given Up" not in taken_back
    another = (
        await dispute(driver, order, payment_reference=(await driver.read(order))["payments"][0]["reference"])
    ).json()
    await close(driver, another["dispute_id"], "won")
    [back] = await e_mailed(driver, "payment_restored")
    assert "Given Up" not in back
    assert await driver.announced(RefundRequested) == []  # as before the loss: given up without a refund


@pytest.mark.parametrize(
    ("prices", "back", "status"), [((OF_ONE, OF_OTHER), OF_ONE, "paid"), ((OF_ONE,), OF_ONE, "reversed")]
)
async def test_what_is_paid_in_a_page_that_was_open_when_it_was_given_up_goes_back(driver, prices, back, status):
    order, payment, enrolments = await bought(driver, *prices)
    await lose(driver, payment)
    page = await driver.open_session(order)
    await driver.consume(end(driver, order, enrolments))
    await driver.pay(page)
    assert (await driver.read(order))["status"] == status
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [back]
    assert len(await driver.announced(PaymentRestored)) == (status == "paid")


async def test_that_page_is_closed(driver):
    order, payment, enrolments = await bought(driver, OF_ONE, OF_OTHER)
    await lose(driver, payment)
    page = await driver.open_session(order)
    await driver.consume(end(driver, order, enrolments))
    await driver.run(close_checkouts)
    assert driver.sandbox.session(page)["status"] == "expired"
    statuses = await driver.session.scalars(select(CheckoutAttempt.status).execution_options(populate_existing=True))
    assert sorted(statuses) == ["closed", "paid"]


async def test_a_course_that_was_bought_anew_is_not_paid_again_beside_it(driver):
    """Whoever lost the credit of a course may buy it again, though the enrolment has not ended."""
    order, payment, enrolments = await bought(driver, OF_ONE, OF_OTHER)
    course_id = UUID(order["lines"][0]["course_id"])
    credit = {
        "credit_id": new_id(),
        "learner_id": driver.learner_id,
        "board_id": new_id(),
        "enrolment_id": enrolments[0],
    }
    await driver.consume(CreditRevoked(**credit, reason_code="error", revoked_at=driver.clock(), revision=1))
    anew = await order_anew(driver, course_id)
    assert anew.status_code == 201, anew.text
    await driver.pay(await driver.open_session(anew.json()))
    await lose(driver, payment)
    assert await asked(driver, order) == OF_OTHER
    [taken_back] = await e_mailed(driver, "payment_reversed")
    assert "Given Up" not in taken_back


async def test_the_order_of_what_was_bought_meanwhile_is_left_alone_when_the_money_is_back(driver):
    order, _, enrolments = await bought(driver, OF_ONE)
    case = (await dispute(driver, order)).json()
    await close(driver, case["dispute_id"], "lost")
    await driver.consume(end(driver, order, enrolments))
    anew = (await order_anew(driver, order["lines"][0]["course_id"])).json()
    reference = (await driver.read(order))["payments"][0]["reference"]
    another = (await dispute(driver, order, payment_reference=reference)).json()
    await close(driver, another["dispute_id"], "won")
    assert (await driver.read(anew))["status"] == "placed"


async def test_finance_gives_back_a_course_whose_money_is_lost_and_moves_none(driver):
    """H1."""
    order, payment, _ = await bought(driver, OF_ONE, OF_OTHER)
    await lose(driver, payment)
    page = await driver.open_session(order)
    answer = await grant(driver, order)
    assert (answer.status_code, answer.json()["status"]) == (201, "cancelled")
    [requested] = await driver.announced(RefundRequested)
    assert (str(requested.order_line_id), requested.decided_by is not None) == (
        order["lines"][0]["order_line_id"],
        True,
    )
    assert await driver.balances() == {}
    [letter] = await e_mailed(driver, "line_given_back")
    assert "£495.00 for Given Up" in letter
    assert await e_mailed(driver, "refund_requested") == []
    await driver.run(close_checkouts, submit_refunds)
    assert driver.sandbox.session(page)["status"] == "expired"
    assert list(driver.sandbox.books.all("refund")) == []
    refused(await grant(driver, order), 409, "refund_already_requested")
    assert await asked(driver, order) == OF_OTHER


async def test_its_money_goes_back_should_it_come_after_all(driver):
    order, _, _ = await bought(driver, OF_ONE, OF_OTHER)
    case = (await dispute(driver, order)).json()
    refused(await grant(driver, order), 409, "order_in_dispute")
    await close(driver, case["dispute_id"], "lost")
    (await grant(driver, order)).raise_for_status()
    reference = (await driver.read(order))["payments"][0]["reference"]
    another = (await dispute(driver, order, payment_reference=reference)).json()
    await close(driver, another["dispute_id"], "won")
    first, again = await driver.announced(RefundRequested)
    assert (first.refund_id, first.requested_at) == (again.refund_id, again.requested_at)
    assert len(await e_mailed(driver, "refund_requested")) == 1
    assert await driver.balances() == {"cash": OF_BOTH, "sales": -OF_OTHER, "refund_liability": -OF_ONE}
    await driver.run(submit_refunds)
    assert [one["amount"] for one in driver.sandbox.books.all("refund")] == [OF_ONE]


async def test_the_learner_gives_nothing_back_that_is_not_paid(driver):
    order, payment, _ = await bought(driver, OF_ONE)
    await lose(driver, payment)
    refused(await driver.refund(order), 409, "order_not_paid")
