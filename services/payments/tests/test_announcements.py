"""What payments announces besides the cases of the rules: each thing once, in the transaction that makes it so."""

from sqlalchemy import select

from payments.jobs import follow_refunds, submit_refunds
from shared.events.payments import CheckoutStarted, ReceiptIssued, RefundCompleted, RefundSubmitted
from shared.messaging.tables import QueuedEmail


async def test_each_session_at_the_provider_is_announced_once(shop):
    order = await shop.order(await shop.sell())
    for _ in range(3):
        await shop.open_session(order)
    await shop.open_session(order, payer={"email": "grace@example.org"})
    first, second = await shop.announced(CheckoutStarted)
    assert (str(first.order_id), first.learner_id) == (order["order_id"], shop.learner_id)
    assert (first.provider, first.attempt_no, second.attempt_no) == ("flywire", 1, 2)
    assert first.attempt_id != second.attempt_id
    assert "example.org" not in first.model_dump_json() + second.model_dump_json()


async def test_a_session_of_which_nothing_is_known_is_not_announced(shop):
    order = await shop.order(await shop.sell())
    failure = {"seconds": 0, "takes_effect": True}
    await shop.control.post("/control/failures", json=failure)
    assert (await shop.checkout(order)).status_code == 503
    assert await shop.announced(CheckoutStarted) == []
    await shop.open_session(order)
    assert [started.attempt_no for started in await shop.announced(CheckoutStarted)] == [2]


async def test_the_receipt_of_an_order_is_announced_once_whatever_the_payment_goes_through(shop):
    order, reference = await shop.buy(await shop.sell(49500), await shop.sell(59500))
    shop.clock.advance(seconds=1)
    await shop.status(reference, "cancelled")
    shop.clock.advance(seconds=1)
    await shop.status(reference, "guaranteed")
    [issued] = await shop.announced(ReceiptIssued)
    async with shop.learner() as client:
        receipt = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
    assert issued.number == receipt["receipt_number"]
    assert (issued.amount_minor, issued.currency, issued.vat_treatment) == (109000, "GBP", receipt["vat_treatment"])
    assert receipt["vat_treatment"] == "exempt"
    email = await shop.session.scalar(select(QueuedEmail.text).where(QueuedEmail.kind == "payment_confirmed"))
    assert f"VAT: exempt. {receipt['vat_reason']}\n" in email


async def given_back(shop):
    """A delivered payment whose line is given back."""
    order, reference = await shop.buy(await shop.sell())
    await shop.refund(order)
    for _ in range(2):
        await shop.later(seconds=1)
    return order, reference


async def test_a_refund_is_submitted_once_however_often_it_is_reported(shop):
    order, _ = await given_back(shop)
    assert await shop.announced(RefundSubmitted) == []
    await shop.run(submit_refunds, submit_refunds)
    for _ in range(2):
        await shop.later(seconds=0.5)
    await shop.later(minutes=5)
    await shop.run(submit_refunds, follow_refunds)
    [submitted] = await shop.announced(RefundSubmitted)
    [completed] = await shop.announced(RefundCompleted)
    line = order["lines"][0]
    assert (submitted.refund_id, submitted.amount_minor) == (completed.refund_id, line["due"]["amount_minor"])
    assert str(submitted.order_line_id) == line["order_line_id"]


async def test_a_refund_whose_answer_was_lost_is_submitted_once(shop):
    await given_back(shop)
    failure = {"operation": "create_refund", "seconds": 0, "takes_effect": True}
    await shop.control.post("/control/failures", json=failure)
    await shop.run(submit_refunds)
    for _ in range(3):
        await shop.later(minutes=1)
        await shop.run(submit_refunds, follow_refunds)
    assert len(await shop.announced(RefundSubmitted)) == len(await shop.announced(RefundCompleted)) == 1


async def test_a_refund_the_provider_gave_up_is_submitted_again_when_finance_sends_it_again(shop):
    order, reference = await given_back(shop)
    await shop.run(submit_refunds)
    [refund] = shop.sandbox.refunds(reference)
    shop.clock.advance(days=2)
    await shop.control.post(f"/control/refunds/{refund['refund_id']}/status", json={"status": "cancelled"})
    await shop.sandbox.run_due()
    refund_id = (await shop.read(order))["lines"][0]["refund"]["refund_id"]
    async with shop.service.client("finance") as client:
        await client.post(f"/v1/orders/{order['order_id']}/refunds/{refund_id}/retry")
    await shop.run(submit_refunds)
    assert [str(event.refund_id) for event in await shop.announced(RefundSubmitted)] == [refund_id, refund_id]
