"""Refunds that somebody made by hand at the provider, and what finance says of them."""

from payments.jobs import follow_refunds, submit_refunds

URL = "http://service/v1/payment-notifications"


async def made_by_hand(driver, *, lines=3, external=""):
    """An order that is paid out, with a finished refund of one line's price that we did not ask for."""
    order, reference = await driver.buy(*[await driver.sell() for _ in range(lines)])
    await driver.deliver(reference)
    driver.sandbox.create_refund(reference, 49500, external, URL)
    await goes_on(driver)
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]
    return order, reference


async def goes_on(driver, rounds=3):
    for _ in range(rounds):
        await driver.later(hours=6)
        await driver.run(submit_refunds, follow_refunds)


async def status_of(driver, order, line):
    return (await driver.read(order))["lines"][line]["refund"]["status"]


async def give_back(driver, order, line):
    assert (await driver.refund(order, line=line)).status_code == 201
    return (await driver.read(order))["lines"][line]["refund"]["refund_id"]


async def grant(driver, order, line):
    path = f"/v1/orders/{order['order_id']}/lines/{order['lines'][line]['order_line_id']}/granted-refund"
    async with driver.service.client("finance") as finance:
        answer = await finance.post(path, json={"reason_code": "goodwill"})
    assert answer.status_code == 201, answer.text
    return answer.json()["refund_id"]


async def close(driver, reason="unknown_refund", /, **explanation):
    row = (await driver.unmatched())[reason]
    async with driver.service.client("finance") as finance:
        return await finance.post(
            f"/v1/unmatched-payments/{row.unmatched_id}/closure", json={"note": "By hand, see mail"} | explanation
        )


def paid(*refund_ids):
    return {"paid": [{"refund_id": one} for one in refund_ids]}


async def paid_back(driver, reference):
    return [one["amount"] for one in driver.sandbox.refunds(reference) if one["status"] == "finished"]


async def finished(driver, made):
    driver.clock.advance(seconds=2)
    driver.sandbox.set_refund_status(made, "finished")
    await driver.sandbox.run_due()
