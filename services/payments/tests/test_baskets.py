"""What is put into a basket and ordered, and why not."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from payments.domain.orders import RegistrationNeeded
from payments.tables import Price
from shared.events.payments import OrderPlaced
from shared.ids import new_id
from shared.messaging.fast_path import Fallback
from shared.testing.services import published

from .orders import said


async def test_a_basket_holds_courses_at_their_present_price(driver):
    one, two = await driver.sell(), await driver.sell(59500)
    async with driver.learner() as client:
        for course_id in (one, two, one):
            answer = await client.put(f"/v1/basket/items/{course_id}")
        assert answer.status_code == 200
        assert [item["course_id"] for item in answer.json()["items"]] == [str(one), str(two)]
        assert answer.json()["totals"] == [{"amount_minor": 109000, "currency": "GBP"}]
        for _ in range(2):
            assert (await client.delete(f"/v1/basket/items/{one}")).status_code == 204
        await driver.price(two, 60000, driver.clock())
        basket = (await client.get("/v1/basket")).json()
    assert [(item["course_id"], item["price"]["amount_minor"]) for item in basket["items"]] == [(str(two), 60000)]


async def test_a_withdrawn_course_stays_visible_but_not_on_sale(driver):
    course_id = await driver.sell()
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        await driver.withdraw(course_id)
        basket = (await client.get("/v1/basket")).json()
        assert [(item["on_sale"], item["price"]) for item in basket["items"]] == [(False, None)]
        assert basket["totals"] == []
        assert said(await client.put(f"/v1/basket/items/{course_id}")) == (409, "course_not_on_sale")


async def test_what_cannot_be_put_into_a_basket(driver):
    async with driver.learner() as client:
        assert said(await client.put(f"/v1/basket/items/{new_id()}")) == (404, "course_unknown")
        free = await driver.sell(0)
        assert said(await client.put(f"/v1/basket/items/{free}")) == (409, "course_not_on_sale")
        not_yet = await driver.sell()
        await driver.price(not_yet, 99500, datetime(2027, 1, 1, tzinfo=UTC))
        answer = await client.put(f"/v1/basket/items/{not_yet}")
        assert answer.json()["items"][0]["price"]["amount_minor"] == 49500


async def test_a_basket_is_full_at_the_number_in_the_regulations(driver):
    async with driver.learner() as client:
        for _ in range(50):
            assert (await client.put(f"/v1/basket/items/{await driver.sell()}")).status_code == 200
        assert said(await client.put(f"/v1/basket/items/{await driver.sell()}")) == (409, "basket_full")


async def test_a_placed_order_fixes_prices_and_empties_the_basket(driver):
    order = await driver.order(await driver.sell(49500), await driver.sell(59500))
    assert order["status"] == "placed"
    assert order["total"] == {"amount_minor": 109000, "currency": "GBP"}
    assert [line["due"]["amount_minor"] for line in order["lines"]] == [49500, 59500]
    assert order["quote_ends_at"] == "2026-11-23T12:30:00Z"
    assert order["expires_at"] == "2026-11-24T12:00:00Z"
    async with driver.learner() as client:
        assert (await client.get("/v1/basket")).json()["items"] == []
        assert (await client.get("/v1/orders")).json()["items"] == [order]
    (placed,) = [event for event in await published(driver.session) if isinstance(event, OrderPlaced)]
    assert [line.due_minor for line in placed.lines] == [49500, 59500]


async def test_twelve_courses_at_495_pounds_are_5940_pounds(driver):
    order = await driver.order(*[await driver.sell() for _ in range(12)])
    assert order["total"]["amount_minor"] == 594000


async def test_a_part_of_the_basket_can_be_ordered(driver):
    one, two = await driver.sell(), await driver.sell()
    await driver.register()
    async with driver.learner() as client:
        for course_id in (one, two):
            await client.put(f"/v1/basket/items/{course_id}")
        answer = await client.post("/v1/orders", json={"course_ids": [str(two)]})
        assert [line["course_id"] for line in answer.json()["lines"]] == [str(two)]
        assert answer.headers["location"] == f"/v1/orders/{answer.json()['order_id']}"
        assert [item["course_id"] for item in (await client.get("/v1/basket")).json()["items"]] == [str(one)]
        assert said(await client.post("/v1/orders", json={"course_ids": [str(two)]})) == (409, "not_in_basket")


async def test_why_an_order_is_refused(driver):
    course_id = await driver.sell()
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        refused = await client.post("/v1/orders")
        assert said(refused) == (409, "registration_needed")
        assert int(refused.headers["Retry-After"]) > 0, "the registration may be on its way"
        assert "registered just now" in refused.json()["detail"]
        assert "just done so" in (RegistrationNeeded.remedy or "")
        await driver.register()
        await driver.withdraw(course_id)
        refused = await client.post("/v1/orders")
        assert said(refused) == (409, "course_not_on_sale")
        assert refused.json()["course_ids"] == [str(course_id)]
        await client.delete(f"/v1/basket/items/{course_id}")
        assert said(await client.post("/v1/orders")) == (409, "basket_empty")
        assert said(await client.post("/v1/orders", json={"price": 1})) == (422, "invalid_request")


async def test_courses_of_different_currencies_are_ordered_separately(driver):
    pounds, dollars = await driver.sell(), await driver.sell()
    await driver.session.execute(update(Price).where(Price.course_id == dollars).values(currency="USD"))
    await driver.register()
    async with driver.learner() as client:
        for course_id in (pounds, dollars):
            await client.put(f"/v1/basket/items/{course_id}")
        assert [total["currency"] for total in (await client.get("/v1/basket")).json()["totals"]] == ["GBP", "USD"]
        assert said(await client.post("/v1/orders")) == (409, "currencies_differ")
        for course_id, currency in ((pounds, "GBP"), (dollars, "USD")):
            answer = await client.post("/v1/orders", json={"course_ids": [str(course_id)]})
            assert answer.json()["total"]["currency"] == currency


async def test_what_was_bought_is_not_sold_again(driver):
    course_id = await driver.sell()
    await driver.buy(course_id)
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        refused = await client.post("/v1/orders")
    assert said(refused) == (409, "already_bought")
    assert refused.json()["course_ids"] == [str(course_id)]


async def test_an_order_placed_before_cannot_buy_the_course_a_second_time(driver):
    course_id = await driver.sell()
    first = await driver.order(course_id)
    late = await driver.open_session(first)
    driver.clock.advance(hours=24)
    second = await driver.order(course_id)
    driver.sandbox.books.put(
        "session", late, {**driver.sandbox.session(late), "status": "open", "expires_at": "2027-01-01T00:00:00Z"}
    )
    await driver.pay(late)
    assert (await driver.read(first))["status"] == "paid"
    assert (await driver.read(second))["status"] == "cancelled"
    assert said(await driver.checkout(second)) == (409, "order_not_payable")


@pytest.mark.parametrize("way", ["fast", "fallback"])
async def test_a_course_in_an_order_that_can_still_be_paid_is_not_ordered_again(driver, way, monkeypatch):
    if way == "fallback":
        monkeypatch.setattr("payments.commands.fast_orders.draw_up_order", refuse_the_fast_path)
    course_id, other = await driver.sell(), await driver.sell()
    first = await driver.order(course_id)
    async with driver.learner() as client:
        for one in (course_id, other):
            await client.put(f"/v1/basket/items/{one}")
        refused = await client.post("/v1/orders")
        assert said(refused) == (409, "already_ordered")
        assert (refused.json()["course_ids"], refused.json()["order_ids"]) == ([str(course_id)], [first["order_id"]])
        assert (await client.post("/v1/orders", json={"course_ids": [str(other)]})).status_code == 201
        await driver.pay(await driver.open_session(first), amount=1)
        assert said(await client.post("/v1/orders")) == (409, "already_ordered")  # underpaid is open as well
        assert (await driver.cancel(first)).status_code == 200
        assert (await client.post("/v1/orders")).status_code == 201


async def refuse_the_fast_path(*_):
    raise Fallback


async def test_two_orders_of_one_basket_at_once_place_it_once(live_driver):
    driver = live_driver
    course_id = await driver.sell()
    await driver.register()
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        answers = await asyncio.gather(*(client.post("/v1/orders") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"basket_empty"}
