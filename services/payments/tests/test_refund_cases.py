"""The acceptance cases of refunds: each goes back once, whatever the provider answers, late or not at all."""

from uuid import UUID

from sqlalchemy import select

from payments.jobs import ask_about_payments, follow_refunds, submit_refunds
from payments.tables import OrderLine, Posting, Refund
from shared.events.payments import PaymentReversed, RefundCompleted, RefundFailed, RefundRequested
from shared.messaging.tables import QueuedEmail


async def discounted_order(shop):
    """£1,485 less £100 over three lines, as a voucher would split it."""
    order = await shop.order(*[await shop.sell() for _ in range(3)])
    lines = await shop.session.scalars(
        select(OrderLine).where(OrderLine.order_id == UUID(order["order_id"])).order_by(OrderLine.position)
    )
    for line, discount in zip(lines, (3333, 3333, 3334), strict=True):
        line.discount_minor, line.due_minor = discount, line.list_minor - discount
    await shop.session.flush()
    return await shop.read(order)


async def test_f3_two_lines_go_back_one_after_the_other_once_the_payment_is_delivered(shop):
    order = await discounted_order(shop)
    assert [line["due"]["amount_minor"] for line in order["lines"]] == [46167, 46167, 46166]
    payment = await shop.pay(await shop.open_session(order), first_name="SANDBOX_TO_GUARANTEED_STATUS")
    reference = payment["payment_id"]
    await shop.later(seconds=1)

    for line in (0, 1):
        assert (await shop.refund(order, line)).json()["amount"]["amount_minor"] == 46167
    assert len(await shop.announced(RefundRequested)) == 2  # both accesses end now
    await shop.run(submit_refunds)
    assert shop.sandbox.refunds(reference) == []

    await shop.later(seconds=1)
    await shop.status(reference, "delivered")
    await shop.run(submit_refunds, submit_refunds)
    assert [(one["amount"], one["status"]) for one in shop.sandbox.refunds(reference)] == [(46167, "initiated")]

    await shop.later(seconds=0.5)  # received
    await shop.run(submit_refunds)
    assert len(shop.sandbox.refunds(reference)) == 1
    await shop.later(seconds=0.5)  # finished
    assert len(await shop.announced(RefundCompleted)) == 1
    await shop.run(submit_refunds)
    assert [one["amount"] for one in shop.sandbox.refunds(reference)] == [46167, 46167]
    await shop.later(seconds=0.5)
    await shop.later(seconds=0.5)
    assert [one.amount_minor for one in await shop.announced(RefundCompleted)] == [46167, 46167]

    order = await shop.read(order)
    assert [line["refund"] and line["refund"]["status"] for line in order["lines"]] == ["completed", "completed", None]
    kinds = (await shop.session.scalars(select(QueuedEmail.kind).order_by(QueuedEmail.kind))).all()
    assert kinds == ["payment_confirmed", *["refund_finished"] * 2, *["refund_received"] * 2, *["refund_requested"] * 2]


async def delivered(shop):
    """A paid order whose line is given back and whose payment is delivered."""
    order, reference = await shop.buy(await shop.sell())
    await shop.refund(order)
    await shop.later(seconds=1)
    await shop.later(seconds=1)
    return order, reference


async def test_a_refund_whose_creation_timed_out_is_looked_for_before_it_is_made_again(shop):
    order, reference = await delivered(shop)
    failure = {"operation": "create_refund", "seconds": 0, "takes_effect": True}
    await shop.control.post("/control/failures", json=failure)
    await shop.run(submit_refunds, submit_refunds)
    refund = await shop.session.scalar(select(Refund).execution_options(populate_existing=True))
    await shop.later(minutes=2)
    await shop.run(submit_refunds)
    assert len(shop.sandbox.refunds(reference)) == 1
    await shop.later(minutes=1)
    await shop.run(submit_refunds, follow_refunds)
    assert len(shop.sandbox.refunds(reference)) == 1
    await shop.session.refresh(refund)
    assert refund.status == "completed"
    assert len(await shop.announced(RefundCompleted)) == 1
    assert (await shop.read(order))["lines"][0]["refund"]["status"] == "completed"


async def test_a_refund_made_in_silence_is_found_at_the_provider_and_not_made_twice(shop):
    order, reference = await delivered(shop)
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    failure = {"operation": "create_refund", "seconds": 0, "takes_effect": True}
    await shop.control.post("/control/failures", json=failure)
    await shop.run(submit_refunds)
    assert (await shop.read(order))["lines"][0]["refund"]["status"] == "submitting"
    for _ in range(2):
        await shop.later(minutes=1)
    await shop.run(submit_refunds)
    assert [one["status"] for one in shop.sandbox.refunds(reference)] == ["finished"]
    assert (await shop.read(order))["lines"][0]["refund"]["status"] == "completed"
    assert await shop.announced(RefundFailed) == []


async def test_a_refund_is_not_asked_for_when_the_provider_takes_the_payment_back_meanwhile(shop):
    order, reference = await delivered(shop)
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    await shop.status(reference, "reversed")
    await shop.run(submit_refunds)
    assert shop.sandbox.refunds(reference) == []
    order = await shop.read(order)
    assert (order["status"], order["lines"][0]["refund"]["status"]) == ("reversed", "cancelled")


async def test_an_answer_that_was_overtaken_by_a_callback_is_not_applied(shop, monkeypatch):
    order = await shop.order(await shop.sell())
    await shop.control.put("/control/callbacks", json={"mode": "hold"})
    payment = await shop.pay(await shop.open_session(order), method="bank_transfer")
    shop.sandbox.payment(payment["payment_id"])["plan"] = []
    await shop.control.post("/control/callbacks/release")
    await shop.sandbox.run_due()
    await shop.control.put("/control/callbacks", json={"mode": "deliver"})
    shop.clock.advance(minutes=3)
    fetch = shop.provider.fetch_payment

    async def slowly(reference):
        answer = await fetch(reference)
        await shop.status(reference, "guaranteed")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "fetch_payment", slowly)
        await shop.run(ask_about_payments)
    assert (await shop.read(order))["status"] == "paid"
    await shop.run(ask_about_payments)
    assert (await shop.read(order))["status"] == "paid"
    assert await shop.announced(PaymentReversed) == []


async def test_a_refund_of_which_no_callback_tells_is_asked_about(shop):
    await delivered(shop)
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    await shop.run(submit_refunds)
    await shop.later(seconds=1)
    await shop.later(minutes=2)
    await shop.run(follow_refunds)
    assert len(await shop.announced(RefundCompleted)) == 1


async def test_a_refund_the_provider_refuses_waits_for_a_person_who_sends_it_again(shop):
    order, reference = await delivered(shop)
    payment = shop.sandbox.payment(reference)
    payment["amount_to"], owed = 1, payment["amount_to"]
    await shop.run(submit_refunds)
    (failed,) = await shop.announced(RefundFailed)
    assert failed.reason_code == "provider_refused"
    refund = (await shop.read(order))["lines"][0]["refund"]
    assert refund["status"] == "failed"
    async with shop.service.client("finance") as client:
        [shown] = (await client.get("/v1/refunds")).json()["items"]
        assert (await client.get("/v1/refunds?status=completed")).json()["items"] == []
    assert (shown["order_id"], shown["refund_id"]) == (order["order_id"], refund["refund_id"])
    assert (shown["payment_reference"], shown["failure_code"]) == (reference, "provider_refused")
    payment["amount_to"] = owed
    path = f"/v1/orders/{order['order_id']}/refunds/{refund['refund_id']}/retry"
    async with shop.service.client("finance") as client:
        assert (await client.post(path)).json()["status"] == "requested"
        refused = await client.post(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "refund_not_failed")
        elsewhere = await client.post(
            path.replace(order["order_id"], (await shop.order(await shop.sell()))["order_id"])
        )
        assert elsewhere.status_code == 404
    await shop.run(submit_refunds)
    for _ in range(2):
        await shop.later(seconds=0.5)
    assert (await shop.read(order))["lines"][0]["refund"]["status"] == "completed"


async def test_a_refund_the_bank_sends_back_is_open_again_and_the_learner_is_emailed(shop):
    order, reference = await delivered(shop)
    await shop.run(submit_refunds)
    for _ in range(2):
        await shop.later(seconds=0.5)
    (refund,) = shop.sandbox.refunds(reference)
    shop.clock.advance(days=2)
    await shop.control.post(f"/control/refunds/{refund['refund_id']}/status", json={"status": "returned"})
    await shop.sandbox.run_due()
    line = (await shop.read(order))["lines"][0]
    assert line["refund"]["status"] == "returned"
    kinds = (await shop.session.scalars(select(Posting.kind).order_by(Posting.posting_no))).all()
    assert kinds == ["sold", "refund_requested", "settled", "refunded", "refund_returned"]
    emails = (await shop.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_delayed"))).all()
    assert len(emails) == 1
    # While the provider may still pay it, it is not sent a second time.
    async with shop.service.client("finance") as client:
        refused = await client.post(f"/v1/orders/{order['order_id']}/refunds/{line['refund']['refund_id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "refund_not_failed")
    await shop.control.post(f"/control/refunds/{refund['refund_id']}/status", json={"status": "received"})
    shop.clock.advance(days=1)
    await shop.control.post(f"/control/refunds/{refund['refund_id']}/status", json={"status": "finished"})
    await shop.sandbox.run_due()
    assert (await shop.read(order))["lines"][0]["refund"]["status"] == "completed"
    assert len(shop.sandbox.refunds(reference)) == 1


async def test_a_refund_not_yet_paid_out_is_dropped_when_the_payment_is_lost(shop):
    order, reference = await shop.buy(await shop.sell(), await shop.sell())
    await shop.refund(order, line=0)
    shop.clock.advance(seconds=0.1)
    await shop.status(reference, "cancelled")
    (reversed_,) = await shop.announced(PaymentReversed)
    assert [str(line.order_line_id) for line in reversed_.lines] == [order["lines"][1]["order_line_id"]]
    assert (await shop.read(order))["lines"][0]["refund"]["status"] == "cancelled"
