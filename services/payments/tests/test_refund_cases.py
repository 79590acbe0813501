"""The acceptance cases of refunds: each goes back once, whatever the provider answers, late or not at all."""

from uuid import UUID

from sqlalchemy import select

from payments.jobs import ask_about_payments, follow_refunds, submit_refunds
from payments.tables import OrderLine, Posting, Refund
from shared.events.payments import PaymentReversed, RefundCompleted, RefundFailed, RefundRequested
from shared.messaging.tables import QueuedEmail


async def discounted_order(driver):
    """£1,485 less £100 over three lines, as a voucher would split it."""
    order = await driver.order(*[await driver.sell() for _ in range(3)])
    lines = await driver.session.scalars(
        select(OrderLine).where(OrderLine.order_id == UUID(order["order_id"])).order_by(OrderLine.position)
    )
    for line, discount in zip(lines, (3333, 3333, 3334), strict=True):
        line.discount_minor, line.due_minor = discount, line.list_minor - discount
    await driver.session.flush()
    return await driver.read(order)


async def test_f3_two_lines_go_back_one_after_the_other_once_the_payment_is_delivered(driver):
    order = await discounted_order(driver)
    assert [line["due"]["amount_minor"] for line in order["lines"]] == [46167, 46167, 46166]
    payment = await driver.pay(await driver.open_session(order), first_name="SANDBOX_TO_GUARANTEED_STATUS")
    reference = payment["payment_id"]
    await driver.later(seconds=1)

    for line in (0, 1):
        assert (await driver.refund(order, line)).json()["amount"]["amount_minor"] == 46167
    assert len(await driver.announced(RefundRequested)) == 2  # both accesses end now
    await driver.run(submit_refunds)
    assert driver.sandbox.refunds(reference) == []

    await driver.later(seconds=1)
    await driver.status(reference, "delivered")
    await driver.run(submit_refunds, submit_refunds)
    assert [(one["amount"], one["status"]) for one in driver.sandbox.refunds(reference)] == [(46167, "initiated")]

    await driver.later(seconds=0.5)  # received
    await driver.run(submit_refunds)
    assert len(driver.sandbox.refunds(reference)) == 1
    await driver.later(seconds=0.5)  # finished
    assert len(await driver.announced(RefundCompleted)) == 1
    await driver.run(submit_refunds)
    assert [one["amount"] for one in driver.sandbox.refunds(reference)] == [46167, 46167]
    await driver.later(seconds=0.5)
    await driver.later(seconds=0.5)
    assert [one.amount_minor for one in await driver.announced(RefundCompleted)] == [46167, 46167]

    order = await driver.read(order)
    assert [line["refund"] and line["refund"]["status"] for line in order["lines"]] == ["completed", "completed", None]
    kinds = (await driver.session.scalars(select(QueuedEmail.kind).order_by(QueuedEmail.kind))).all()
    assert kinds == ["payment_confirmed", *["refund_finished"] * 2, *["refund_received"] * 2, *["refund_requested"] * 2]


async def delivered(driver):
    """A paid order whose line is given back and whose payment is delivered."""
    order, reference = await driver.buy(await driver.sell())
    await driver.refund(order)
    await driver.later(seconds=1)
    await driver.later(seconds=1)
    return order, reference


async def test_a_refund_whose_creation_timed_out_is_looked_for_before_it_is_made_again(driver):
    order, reference = await delivered(driver)
    failure = {"operation": "create_refund", "seconds": 0, "takes_effect": True}
    await driver.control.post("/control/failures", json=failure)
    await driver.run(submit_refunds, submit_refunds)
    refund = await driver.session.scalar(select(Refund).execution_options(populate_existing=True))
    await driver.later(minutes=2)
    await driver.run(submit_refunds)
    assert len(driver.sandbox.refunds(reference)) == 1
    await driver.later(minutes=1)
    await driver.run(submit_refunds, follow_refunds)
    assert len(driver.sandbox.refunds(reference)) == 1
    await driver.session.refresh(refund)
    assert refund.status == "completed"
    assert len(await driver.announced(RefundCompleted)) == 1
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "completed"


async def test_a_refund_made_in_silence_is_found_at_the_provider_and_not_made_twice(driver):
    order, reference = await delivered(driver)
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    failure = {"operation": "create_refund", "seconds": 0, "takes_effect": True}
    await driver.control.post("/control/failures", json=failure)
    await driver.run(submit_refunds)
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "submitting"
    for _ in range(2):
        await driver.later(minutes=1)
    await driver.run(submit_refunds)
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "completed"
    assert await driver.announced(RefundFailed) == []


async def test_a_refund_is_not_asked_for_when_the_provider_takes_the_payment_back_meanwhile(driver):
    order, reference = await delivered(driver)
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    await driver.status(reference, "reversed")
    await driver.run(submit_refunds)
    assert driver.sandbox.refunds(reference) == []
    order = await driver.read(order)
    assert (order["status"], order["lines"][0]["refund"]["status"]) == ("reversed", "cancelled")


async def test_an_answer_that_was_overtaken_by_a_callback_is_not_applied(driver, monkeypatch):
    order = await driver.order(await driver.sell())
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    payment = await driver.pay(await driver.open_session(order), method="bank_transfer")
    driver.sandbox.payment(payment["payment_id"])["plan"] = []
    await driver.control.post("/control/callbacks/release")
    await driver.sandbox.run_due()
    await driver.control.put("/control/callbacks", json={"mode": "deliver"})
    driver.clock.advance(minutes=3)
    fetch = driver.provider.fetch_payment

    async def slowly(reference):
        answer = await fetch(reference)
        await driver.status(reference, "guaranteed")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "fetch_payment", slowly)
        await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "paid"
    await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.announced(PaymentReversed) == []


async def test_a_refund_of_which_no_callback_tells_is_asked_about(driver):
    await delivered(driver)
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    await driver.run(submit_refunds)
    await driver.later(seconds=1)
    await driver.later(minutes=2)
    await driver.run(follow_refunds)
    assert len(await driver.announced(RefundCompleted)) == 1


async def test_a_refund_the_provider_refuses_waits_for_a_person_who_sends_it_again(driver):
    order, reference = await delivered(driver)
    payment = driver.sandbox.payment(reference)
    payment["amount_to"], owed = 1, payment["amount_to"]
    await driver.run(submit_refunds)
    (failed,) = await driver.announced(RefundFailed)
    assert failed.reason_code == "provider_refused"
    refund = (await driver.read(order))["lines"][0]["refund"]
    assert refund["status"] == "failed"
    async with driver.service.client("finance") as client:
        [shown] = (await client.get("/v1/refunds")).json()["items"]
        assert (await client.get("/v1/refunds?status=completed")).json()["items"] == []
    assert (shown["order_id"], shown["refund_id"]) == (order["order_id"], refund["refund_id"])
    assert (shown["payment_reference"], shown["failure_code"]) == (reference, "provider_refused")
    payment["amount_to"] = owed
    path = f"/v1/orders/{order['order_id']}/refunds/{refund['refund_id']}/retry"
    async with driver.service.client("finance") as client:
        assert (await client.post(path)).json()["status"] == "requested"
        refused = await client.post(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "refund_not_failed")
        elsewhere = await client.post(
            path.replace(order["order_id"], (await driver.order(await driver.sell()))["order_id"])
        )
        assert elsewhere.status_code == 404
    await driver.run(submit_refunds)
    for _ in range(2):
        await driver.later(seconds=0.5)
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "completed"


async def test_a_refund_the_bank_sends_back_is_open_again_and_the_learner_is_emailed(driver):
    order, reference = await delivered(driver)
    await driver.run(submit_refunds)
    for _ in range(2):
        await driver.later(seconds=0.5)
    (refund,) = driver.sandbox.refunds(reference)
    driver.clock.advance(days=2)
    await driver.control.post(f"/control/refunds/{refund['refund_id']}/status", json={"status": "returned"})
    await driver.sandbox.run_due()
    line = (await driver.read(order))["lines"][0]
    assert line["refund"]["status"] == "returned"
    kinds = (await driver.session.scalars(select(Posting.kind).order_by(Posting.posting_no))).all()
    assert kinds == ["sold", "refund_requested", "settled", "refunded", "refund_returned"]
    emails = (await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_delayed"))).all()
    assert len(emails) == 1
    # While the provider may still pay it, it is not sent a second time.
    async with driver.service.client("finance") as client:
        refused = await client.post(f"/v1/orders/{order['order_id']}/refunds/{line['refund']['refund_id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "refund_not_failed")
    await driver.control.post(f"/control/refunds/{refund['refund_id']}/status", json={"status": "received"})
    driver.clock.advance(days=1)
    await driver.control.post(f"/control/refunds/{refund['refund_id']}/status", json={"status": "finished"})
    await driver.sandbox.run_due()
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "completed"
    assert len(driver.sandbox.refunds(reference)) == 1


async def test_a_refund_not_yet_paid_out_is_dropped_when_the_payment_is_lost(driver):
    order, reference = await driver.buy(await driver.sell(), await driver.sell())
    await driver.refund(order, line=0)
    driver.clock.advance(seconds=0.1)
    await driver.status(reference, "cancelled")
    (reversed_,) = await driver.announced(PaymentReversed)
    assert [str(line.order_line_id) for line in reversed_.lines] == [order["lines"][1]["order_line_id"]]
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "cancelled"
