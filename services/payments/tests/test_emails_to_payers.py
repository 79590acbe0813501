"""What payers are e-mailed and shown: which courses, what is due and where, of money that is back, on which day."""

import inspect
import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from payments.commands import emails as written
from payments.jobs import submit_refunds
from shared.events.enrolment import LearnerAnonymised
from shared.messaging.tables import QueuedEmail

from .disputes import close, delivered, dispute


async def emails(driver):
    return {one.kind: one.text for one in await driver.session.scalars(select(QueuedEmail))}


KINDS = {
    *re.findall(r'kind="(\w+)"', inspect.getsource(written)),
    "refund_requested",
    "refund_received",
    "refund_finished",
}
TO_PAY = {"payment_underpaid", "payment_reversed", "payment_of_nothing"}


async def test_every_email_names_the_course_and_the_address_where_something_is_to_be_done(driver):
    """One life after another, until each kind of e-mail was written."""
    titles = "Statistical Inference", "Machine Learning"

    async def courses():
        return [await driver.sell(title=title) for title in titles]

    async def little(amount):
        order = await driver.order(*await courses())
        return order, await driver.pay(await driver.open_session(order), amount=amount)

    await little(100)
    _, nothing = await little(0)
    await driver.deliver(nothing["payment_id"])
    order, reference = await driver.buy(*await courses())  # lost, there again, lost, and paid again
    for status in ("cancelled", "processed", "cancelled"):
        driver.clock.advance(hours=1)
        await driver.status(reference, status)
    driver.clock.advance(hours=1)
    await driver.pay(await driver.open_session(order))
    order, reference = await delivered(driver, *await courses())
    opened = await dispute(driver, order)
    assert (await close(driver, opened.json()["dispute_id"], "won")).status_code == 200
    await driver.refund(order)
    driver.clock.advance(days=1)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    for status in ("received", "finished", "returned"):
        driver.clock.advance(hours=1)
        driver.sandbox.set_refund_status(refund, status)
        await driver.sandbox.run_due()
    order, reference = await driver.buy(*await courses())
    driver.clock.advance(hours=1)
    await driver.status(reference, "cancelled")
    given_back = f"/v1/orders/{order['order_id']}/lines/{order['lines'][0]['order_line_id']}/granted-refund"
    async with driver.service.client("finance") as finance:
        (await finance.post(given_back, json={"reason_code": "goodwill"})).raise_for_status()
    order, reference = await delivered(driver, *await courses())  # a refund that ends with its payment
    await driver.refund(order)
    await driver.status(reference, "reversed")
    found = (await driver.session.scalars(select(QueuedEmail))).all()
    assert {one.kind for one in found} == KINDS - {"refund_{step}"}
    for one in found:
        if one.kind == "payment_reversed" and order["order_id"] in one.text:
            continue  # what is due of the last one is half of it
        named = [title for title in titles if title in one.text]
        assert named == list(titles[:1] if one.kind.startswith(("refund_", "line_")) else titles), one.text
        if one.kind in TO_PAY:
            assert "/?order_id=" in one.text, one.text
        assert "{" not in one.text
    await driver.consume(LearnerAnonymised(learner_id=driver.learner_id, anonymised_at=driver.clock()))
    assert (await driver.session.scalars(select(QueuedEmail.kind))).all() == []


async def test_what_a_lost_dispute_leaves_due_is_what_checkout_asks(driver):
    order, _ = await delivered(driver, await driver.sell(), await driver.sell(title="Machine Learning"))
    await driver.refund(order)
    opened = await dispute(driver, order)
    assert (await close(driver, opened.json()["dispute_id"], "lost")).status_code == 200
    announced = (await emails(driver))["payment_reversed"]
    assert "£495.00 is due" in announced
    assert "Machine Learning" in announced
    assert "Statistical Inference" not in announced


@pytest.mark.parametrize("outcome", ["won", "withdrawn"])
async def test_the_payer_is_emailed_that_a_dispute_suspends_and_that_it_is_over(driver, outcome):
    order, _ = await delivered(driver, await driver.sell())
    opened = await dispute(driver, order)
    assert "Until that is decided, access to the following is suspended" in (await emails(driver))["dispute_opened"]
    assert (await close(driver, opened.json()["dispute_id"], outcome)).status_code == 200
    said = await emails(driver)
    assert "access to the following is as before" in said["dispute_closed"]
    assert "payment_reversed" not in said


async def test_a_dispute_about_money_that_pays_for_nothing_suspends_nothing(driver):
    order, _ = await delivered(driver, await driver.sell())
    order = await driver.order(await driver.sell())
    reference = (await driver.pay(await driver.open_session(order), amount=10000))["payment_id"]
    await driver.deliver(reference)
    assert (await dispute(driver, order, payment_reference=reference)).status_code == 201
    assert "dispute_opened" not in await emails(driver)


async def nothing_delivered(driver, order):
    payment = await driver.pay(await driver.open_session(order), amount=0)
    return payment["payment_id"]


@pytest.mark.parametrize("left", [False, True])
async def test_a_payment_of_nothing_that_was_delivered_is_no_longer_under_way(driver, left):
    order = await driver.order(await driver.sell())
    reference = await nothing_delivered(driver, order)
    assert [one["status"] for one in (await driver.read(order))["payments"]] == ["under_way"]
    if left:
        await driver.cancel(order)
    await driver.deliver(reference)
    assert [one["status"] for one in (await driver.read(order))["payments"]] == ["declined"]
    announced = (await emails(driver))["payment_of_nothing"]
    assert ("nothing was charged" in announced, "Open the order again" in announced) == (True, not left)


async def test_the_payer_is_emailed_that_withdrawn_money_is_back(driver):
    order, reference = await driver.buy(await driver.sell())
    for status in ("cancelled", "processed"):
        driver.clock.advance(hours=1)
        await driver.status(reference, status)
    announced = (await emails(driver))["payment_restored"]
    assert order["order_id"] in announced
    assert "£495.00" in announced


@pytest.mark.parametrize("paid_out", [True, False])
async def test_a_refund_that_cannot_be_sent_yet_is_not_called_on_its_way(driver, paid_out):
    order, reference = await driver.buy(await driver.sell())
    if paid_out:
        await driver.deliver(reference)
    await driver.refund(order)
    [announced] = await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_requested"))
    assert announced.subject == "Your refund was requested", "nobody has sent anything yet"
    assert ("once your payment has been paid out to us" in announced.text) != paid_out


async def test_nor_is_one_of_a_payment_that_is_disputed(driver):
    order = await driver.order(await driver.sell())
    reference = (await driver.pay(await driver.open_session(order), amount=10000))["payment_id"]
    await driver.deliver(reference)
    assert (await dispute(driver, order, payment_reference=reference)).status_code == 201
    await driver.cancel(order)
    [announced] = await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_requested"))
    assert announced.subject == "Your refund was requested"


async def test_one_of_two_refunds_of_a_payment_says_that_it_waits_for_the_other(driver):
    order, _ = await delivered(driver, await driver.sell(), await driver.sell())
    for line in (0, 1):
        assert (await driver.refund(order, line)).status_code == 201
    said = [one.text for one in await driver.session.scalars(select(QueuedEmail)) if one.kind == "refund_requested"]
    assert sorted("once another refund of the same payment is through" in one for one in said) == [False, True]


async def test_an_open_dispute_is_not_said_to_have_no_deadline(driver):
    order, _ = await delivered(driver, await driver.sell())
    await dispute(driver, order)
    announced = (await emails(driver))["dispute_opened"]
    assert "no deadline" not in announced
    assert "deadlines for handing in go on" in " ".join(announced.split())


@pytest.mark.parametrize("by", ["bank", "provider"])
async def test_a_refund_that_ends_with_its_payment_says_so_and_why(driver, by):
    order, reference = await delivered(driver, await driver.sell(), await driver.sell(title="Machine Learning"))
    await driver.refund(order)
    if by == "bank":
        opened = await dispute(driver, order)
        assert (await close(driver, opened.json()["dispute_id"], "lost")).status_code == 200
    else:
        await driver.status(reference, "reversed")
    announced = " ".join((await emails(driver))["refund_cancelled"].split())
    assert "Statistical Inference" in announced
    assert ("your bank has taken" in announced, "the payment provider has taken" in announced) == (
        by == "bank",
        by == "provider",
    )


async def test_the_day_on_a_receipt_is_londons(driver):
    driver.clock.at = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)
    await driver.buy(await driver.sell())
    address = next(word for word in (await emails(driver))["payment_confirmed"].split() if "/receipts/" in word)
    async with driver.service.client() as client:
        page = (await client.get("/receipts/" + address.partition("/receipts/")[2])).text
    assert "1 July 2026" in page
