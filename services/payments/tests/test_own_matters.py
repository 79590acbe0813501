"""Every operation that finance may not do about an order of their own is tried by the person concerned."""

from datetime import timedelta

import pytest

from payments.access import ACCESS
from payments.jobs import submit_refunds
from shared.testing.access import own_matters

CASE = {"reason_code": "not_recognised", "case_reference": "CB-17"}


async def delivered(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    return order


async def open_dispute(driver, own):
    order = await delivered(driver)
    return await own.post("/v1/disputes", json={"order_id": order["order_id"], **CASE})


async def close_dispute(driver, own):
    order = await delivered(driver)
    async with driver.service.client("finance") as finance:
        case = (await finance.post("/v1/disputes", json={"order_id": order["order_id"], **CASE})).json()
    return await own.post(f"/v1/disputes/{case['dispute_id']}/closing", json={"outcome": "won"})


async def retry_refund(driver, own):
    order = await delivered(driver)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [line] = (await driver.read(order))["lines"]
    return await own.post(f"/v1/orders/{order['order_id']}/refunds/{line['refund']['refund_id']}/retry")


async def grant_refund(driver, own):
    order = await delivered(driver)
    path = f"/v1/orders/{order['order_id']}/lines/{order['lines'][0]['order_line_id']}/granted-refund"
    return await own.post(path, json={"reason_code": "goodwill"})


async def test_nobody_buys_at_a_price_they_set_themselves(driver):
    await driver.register()
    course_id, other = await driver.sell(), await driver.sell()
    await driver.price(course_id, 1, driver.clock() - timedelta(seconds=1), by=driver.learner_id)
    async with driver.learner() as own:
        for one in (course_id, other):
            await own.put(f"/v1/basket/items/{one}")
        refused = await own.post("/v1/orders")
        assert (refused.status_code, refused.json()["code"]) == (403, "own_price")
        assert refused.json()["course_ids"] == [str(course_id)]
        order = (await own.post("/v1/orders", json={"course_ids": [str(other)]})).json()
    await driver.price(other, 1, driver.clock(), by=driver.learner_id)
    driver.clock.advance(minutes=31)  # the quote of another's price is over
    refused = await driver.checkout(order, accepted_total=1)
    assert (refused.status_code, refused.json()["code"]) == (403, "own_price")
    await driver.price(other, 2, driver.clock())
    assert (await driver.checkout(order, accepted_total=2)).status_code == 201


async def close_unmatched_payment(driver, own):
    await driver.pay(await driver.open_session(await driver.order(await driver.sell())), amount=0)
    row = (await driver.unmatched())["nothing_paid"]
    return await own.post(f"/v1/unmatched-payments/{row.unmatched_id}/closure", json={"note": "Settled."})


WALKS = {
    walk.__name__: walk for walk in (open_dispute, close_dispute, grant_refund, retry_refund, close_unmatched_payment)
}


def test_every_such_operation_is_walked():
    assert set(WALKS) == set(own_matters(ACCESS))


@pytest.mark.parametrize("operation", WALKS)
async def test_nobody_decides_about_an_order_of_their_own(driver, operation):
    roles = sorted({"learner", *ACCESS[operation].staff})
    async with driver.service.client(*roles, id=driver.learner_id) as own:
        answer = await WALKS[operation](driver, own)
    assert (answer.status_code, answer.json()["code"]) == (403, own_matters(ACCESS)[operation])
