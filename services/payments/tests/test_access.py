"""Who may do what, and that nobody sees another's."""

import pytest

from shared.testing.access import access_failures
from shared.testing.services import ServiceUnderTest


async def test_every_operation_admits_exactly_whom_the_access_table_names(service: ServiceUnderTest, session):
    assert await access_failures(service) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/orders/{order}"),
        ("GET", "/v1/orders/{order}/receipt"),
        ("POST", "/v1/orders/{order}/checkout"),
        ("POST", "/v1/orders/{order}/lines/{line}/refund"),
    ],
)
async def test_another_learner_is_answered_there_is_no_such_order(driver, method, path):
    order, _ = await driver.buy(await driver.sell())
    path = path.format(order=order["order_id"], line=order["lines"][0]["order_line_id"])
    body = {"payer": {"email": "eve@example.org"}} if path.endswith("checkout") else None
    async with driver.service.client("learner") as stranger:
        answer = await stranger.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_finance_and_advisors_read_an_order_and_only_finance_its_receipt(driver):
    order, _ = await driver.buy(await driver.sell())
    for role, path, status in (
        ("finance", "", 200),
        ("advisor", "", 200),
        ("finance", "/receipt", 200),
        ("advisor", "/receipt", 403),
    ):
        async with driver.service.client(role) as client:
            answer = await client.get(f"/v1/orders/{order['order_id']}{path}")
        assert answer.status_code == status, (role, path, answer.text)


async def test_orders_and_baskets_are_ones_own(driver):
    await driver.order(await driver.sell())
    async with driver.service.client("learner") as stranger:
        assert (await stranger.get("/v1/orders")).json()["items"] == []
        assert (await stranger.get("/v1/basket")).json()["items"] == []
