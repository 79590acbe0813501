"""Disputes, as finance records and closes them."""

CASE = {"reason_code": "not_recognised", "case_reference": "CB-17"}


async def dispute(driver, order, **changes):
    async with driver.service.client("finance") as finance:
        return await finance.post("/v1/disputes", json={"order_id": order["order_id"], **CASE, **changes})


async def close(driver, dispute_id, outcome):
    async with driver.service.client("finance") as finance:
        return await finance.post(f"/v1/disputes/{dispute_id}/closing", json={"outcome": outcome})


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()


async def delivered(driver, *course_ids):
    """A bought order whose money has been paid out."""
    order, reference = await driver.buy(*course_ids)
    await driver.status(reference, "guaranteed")
    await driver.status(reference, "delivered")
    return order, reference
