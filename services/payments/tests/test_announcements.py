"""What payments announces besides the cases of the rules: each thing once, in the transaction that makes it so."""

from sqlalchemy import select

from payments.jobs import follow_refunds, submit_refunds
from shared.events.payments import CheckoutStarted, ReceiptIssued, RefundCompleted, RefundSubmitted
from shared.messaging.tables import QueuedEmail


async def test_each_session_at_the_provider_is_announced_once(driver):
    order = await driver.order(await driver.sell())
    for _ in range(3):
        await driver.open_session(order)
    await driver.open_session(order, payer={"email": "grace@example.org"})
    first, second = await driver.announced(CheckoutStarted)
    assert (str(first.order_id), first.learner_id) == (order["order_id"], driver.learner_id)
    assert (first.provider, first.attempt_no, second.attempt_no) == ("flywire", 1, 2)
    assert first.attempt_id != second.attempt_id
    assert "example.org" not in first.model_dump_json() + second.model_dump_json()


async def test_a_session_of_which_nothing_is_known_is_not_announced(driver):
    order = await driver.order(await driver.sell())
    failure = {"seconds": 0, "takes_effect": True}
    await driver.control.post("/control/failures", json=failure)
    assert (await driver.checkout(order)).status_code == 503
    assert await driver.announced(CheckoutStarted) == []
    await driver.open_session(order)
    assert [started.attempt_no for started in await driver.announced(CheckoutStarted)] == [2]


async def test_the_receipt_of_an_order_is_announced_once_whatever_the_payment_goes_through(driver):
    order, reference = await driver.buy(await driver.sell(49500), await driver.sell(59500))
    driver.clock.advance(seconds=1)
    await driver.status(reference, "cancelled")
    driver.clock.advance(seconds=1)
    await driver.status(reference, "guaranteed")
    [issued] = await driver.announced(ReceiptIssued)
    async with driver.learner() as client:
        receipt = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
    assert issued.number == receipt["receipt_number"]
    assert (issued.amount_minor, issued.currency, issued.vat_treatment) == (109000, "GBP", receipt["vat_treatment"])
    assert receipt["vat_treatment"] == "exempt"
    email = await driver.session.scalar(select(QueuedEmail.text).where(QueuedEmail.kind == "payment_confirmed"))
    assert f"VAT: exempt. {receipt['vat_reason']}\n" in email


async def given_back(driver):
    """A delivered payment whose line is given back."""
    order, reference = await driver.buy(await driver.sell())
    await driver.refund(order)
    for _ in range(2):
        await driver.later(seconds=1)
    return order, reference


async def test_a_refund_is_submitted_once_however_often_it_is_reported(driver):
    order, _ = await given_back(driver)
    assert await driver.announced(RefundSubmitted) == []
    await driver.run(submit_refunds, submit_refunds)
    for _ in range(2):
        await driver.later(seconds=0.5)
    await driver.later(minutes=5)
    await driver.run(submit_refunds, follow_refunds)
    [submitted] = await driver.announced(RefundSubmitted)
    [completed] = await driver.announced(RefundCompleted)
    line = order["lines"][0]
    assert (submitted.refund_id, submitted.amount_minor) == (completed.refund_id, line["due"]["amount_minor"])
    assert str(submitted.order_line_id) == line["order_line_id"]


async def test_a_refund_whose_answer_was_lost_is_submitted_once(driver):
    await given_back(driver)
    failure = {"operation": "create_refund", "seconds": 0, "takes_effect": True}
    await driver.control.post("/control/failures", json=failure)
    await driver.run(submit_refunds)
    for _ in range(3):
        await driver.later(minutes=1)
        await driver.run(submit_refunds, follow_refunds)
    assert len(await driver.announced(RefundSubmitted)) == len(await driver.announced(RefundCompleted)) == 1


async def test_a_refund_the_provider_gave_up_is_submitted_again_when_finance_sends_it_again(driver):
    order, reference = await given_back(driver)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    driver.clock.advance(days=2)
    await driver.control.post(f"/control/refunds/{refund['refund_id']}/status", json={"status": "cancelled"})
    await driver.sandbox.run_due()
    refund_id = (await driver.read(order))["lines"][0]["refund"]["refund_id"]
    async with driver.service.client("finance") as client:
        await client.post(f"/v1/orders/{order['order_id']}/refunds/{refund_id}/retry")
    await driver.run(submit_refunds)
    assert [str(event.refund_id) for event in await driver.announced(RefundSubmitted)] == [refund_id, refund_id]
