"""Baskets, orders, checkout and refunds as the front end meets them; each refusal by its code."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from payments.adapters.flywire import KEY_HEADER
from payments.jobs import close_checkouts, submit_refunds
from payments.tables import CheckoutAttempt, Order, Price
from shared.events.payments import OrderPlaced, RefundRequested
from shared.ids import new_id
from shared.messaging.hot import LongWay
from shared.messaging.tables import Letter
from shared.testing import published

FAR = "2027-01-01T00:00:00Z"


def said(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_basket_holds_courses_at_their_present_price(shop):
    one, two = await shop.sell(), await shop.sell(59500)
    async with shop.learner() as client:
        for course_id in (one, two, one):
            answer = await client.put(f"/v1/basket/items/{course_id}")
        assert answer.status_code == 200
        assert [item["course_id"] for item in answer.json()["items"]] == [str(one), str(two)]
        assert answer.json()["totals"] == [{"amount_minor": 109000, "currency": "GBP"}]
        for _ in range(2):
            assert (await client.delete(f"/v1/basket/items/{one}")).status_code == 204
        await shop.price(two, 60000, shop.clock())
        basket = (await client.get("/v1/basket")).json()
    assert [(item["course_id"], item["price"]["amount_minor"]) for item in basket["items"]] == [(str(two), 60000)]


async def test_a_withdrawn_course_stays_in_sight_but_not_on_sale(shop):
    course_id = await shop.sell()
    async with shop.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        await shop.withdraw(course_id)
        basket = (await client.get("/v1/basket")).json()
        assert [(item["on_sale"], item["price"]) for item in basket["items"]] == [(False, None)]
        assert basket["totals"] == []
        assert said(await client.put(f"/v1/basket/items/{course_id}")) == (409, "course_not_on_sale")


async def test_what_cannot_be_put_into_a_basket(shop):
    async with shop.learner() as client:
        assert said(await client.put(f"/v1/basket/items/{new_id()}")) == (404, "course_unknown")
        free = await shop.sell(0)
        assert said(await client.put(f"/v1/basket/items/{free}")) == (409, "course_not_on_sale")
        not_yet = await shop.sell()
        await shop.price(not_yet, 99500, datetime(2027, 1, 1, tzinfo=UTC))
        answer = await client.put(f"/v1/basket/items/{not_yet}")
        assert answer.json()["items"][0]["price"]["amount_minor"] == 49500


async def test_a_basket_is_full_at_the_number_in_the_regulations(shop):
    async with shop.learner() as client:
        for _ in range(50):
            assert (await client.put(f"/v1/basket/items/{await shop.sell()}")).status_code == 200
        assert said(await client.put(f"/v1/basket/items/{await shop.sell()}")) == (409, "basket_full")


async def test_a_placed_order_fixes_prices_and_empties_the_basket(shop):
    order = await shop.order(await shop.sell(49500), await shop.sell(59500))
    assert order["status"] == "placed"
    assert order["total"] == {"amount_minor": 109000, "currency": "GBP"}
    assert [line["due"]["amount_minor"] for line in order["lines"]] == [49500, 59500]
    assert order["quote_ends_at"] == "2026-11-23T12:30:00Z"
    assert order["expires_at"] == "2026-11-24T12:00:00Z"
    async with shop.learner() as client:
        assert (await client.get("/v1/basket")).json()["items"] == []
        assert (await client.get("/v1/orders")).json()["items"] == [order]
    (placed,) = [event for event in await published(shop.session) if isinstance(event, OrderPlaced)]
    assert [line.due_minor for line in placed.lines] == [49500, 59500]


async def test_twelve_courses_at_495_pounds_are_5940_pounds(shop):
    order = await shop.order(*[await shop.sell() for _ in range(12)])
    assert order["total"]["amount_minor"] == 594000


async def test_a_part_of_the_basket_can_be_ordered(shop):
    one, two = await shop.sell(), await shop.sell()
    await shop.register()
    async with shop.learner() as client:
        for course_id in (one, two):
            await client.put(f"/v1/basket/items/{course_id}")
        answer = await client.post("/v1/orders", json={"course_ids": [str(two)]})
        assert [line["course_id"] for line in answer.json()["lines"]] == [str(two)]
        assert answer.headers["location"] == f"/v1/orders/{answer.json()['order_id']}"
        assert [item["course_id"] for item in (await client.get("/v1/basket")).json()["items"]] == [str(one)]
        assert said(await client.post("/v1/orders", json={"course_ids": [str(two)]})) == (409, "not_in_basket")


async def test_why_an_order_is_refused(shop):
    course_id = await shop.sell()
    async with shop.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        assert said(await client.post("/v1/orders")) == (409, "registration_needed")
        await shop.register()
        await shop.withdraw(course_id)
        refused = await client.post("/v1/orders")
        assert said(refused) == (409, "course_not_on_sale")
        assert refused.json()["course_ids"] == [str(course_id)]
        await client.delete(f"/v1/basket/items/{course_id}")
        assert said(await client.post("/v1/orders")) == (409, "basket_empty")
        assert said(await client.post("/v1/orders", json={"price": 1})) == (422, "invalid_request")


async def test_courses_of_different_currencies_are_ordered_separately(shop):
    pounds, dollars = await shop.sell(), await shop.sell()
    await shop.session.execute(update(Price).where(Price.course_id == dollars).values(currency="USD"))
    await shop.register()
    async with shop.learner() as client:
        for course_id in (pounds, dollars):
            await client.put(f"/v1/basket/items/{course_id}")
        assert [total["currency"] for total in (await client.get("/v1/basket")).json()["totals"]] == ["GBP", "USD"]
        assert said(await client.post("/v1/orders")) == (409, "currencies_differ")
        for course_id, currency in ((pounds, "GBP"), (dollars, "USD")):
            answer = await client.post("/v1/orders", json={"course_ids": [str(course_id)]})
            assert answer.json()["total"]["currency"] == currency


async def test_what_was_bought_is_not_sold_again(shop):
    course_id = await shop.sell()
    await shop.buy(course_id)
    async with shop.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        refused = await client.post("/v1/orders")
    assert said(refused) == (409, "already_bought")
    assert refused.json()["course_ids"] == [str(course_id)]


async def test_an_order_placed_before_cannot_buy_the_course_a_second_time(shop):
    course_id = await shop.sell()
    first = await shop.order(course_id)
    late = await shop.open_session(first)
    shop.clock.advance(hours=24)
    second = await shop.order(course_id)
    shop.sandbox.books.put("session", late, {**shop.sandbox.session(late), "status": "open", "expires_at": FAR})
    await shop.pay(late)
    assert (await shop.read(first))["status"] == "paid"
    assert said(await shop.checkout(second)) == (409, "already_bought")


@pytest.mark.parametrize("way", ["hot", "long"])
async def test_a_course_in_an_order_that_can_still_be_paid_is_not_ordered_again(shop, way, monkeypatch):
    if way == "long":
        monkeypatch.setattr("payments.commands.hot_orders.draw_up_order", refuse_the_hot_way)
    course_id, other = await shop.sell(), await shop.sell()
    first = await shop.order(course_id)
    async with shop.learner() as client:
        for one in (course_id, other):
            await client.put(f"/v1/basket/items/{one}")
        refused = await client.post("/v1/orders")
        assert said(refused) == (409, "already_ordered")
        assert (refused.json()["course_ids"], refused.json()["order_ids"]) == ([str(course_id)], [first["order_id"]])
        assert (await client.post("/v1/orders", json={"course_ids": [str(other)]})).status_code == 201
        await shop.pay(await shop.open_session(first), amount=1)
        assert said(await client.post("/v1/orders")) == (409, "already_ordered")  # underpaid is open as well
        assert (await shop.cancel(first)).status_code == 200
        assert (await client.post("/v1/orders")).status_code == 201


async def refuse_the_hot_way(*_):
    raise LongWay


async def test_an_order_says_that_a_card_was_declined_and_can_be_paid_again(shop):
    order = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    [under_way] = (await shop.read(order))["payments"]
    assert (under_way["status"], under_way["use"]) == ("under_way", None)
    await shop.later(seconds=1)
    [declined] = (await shop.read(order))["payments"]
    assert (declined["status"], declined["amount"]["amount_minor"]) == ("declined", 49500)
    await shop.pay(await shop.open_session(order))
    order = await shop.read(order)
    assert (order["status"], [one["status"] for one in order["payments"]]) == ("paid", ["declined", "received"])


async def test_a_bank_transfer_under_way_is_shown_and_the_order_is_not_sold_twice(shop):
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), method="bank_transfer")
    refused = await shop.checkout(order, payer={"email": "charles@example.org"})
    assert said(refused) == (409, "payment_under_way")
    assert (refused.json()["payment_reference"], refused.json()["method"]) == (payment["payment_id"], "bank_transfer")
    assert len(list(shop.sandbox.books.all("session"))) == 1
    for _ in range(2):
        await shop.later(seconds=1)
    assert (await shop.read(order))["status"] == "paid"


async def test_an_underpaid_order_is_paid_as_the_letter_says(shop):
    """By the same person, from the same page."""
    order = await shop.order(await shop.sell())
    first = await shop.open_session(order)
    await shop.pay(first, amount=100)
    again = await shop.checkout(order)
    assert (again.status_code, again.json()["amount"]["amount_minor"]) == (201, 49500)
    second = again.json()["pay_url"].rpartition("/")[2]
    assert shop.sandbox.session(second)["status"] == "open"
    await shop.pay(second)
    order = await shop.read(order)
    assert (order["status"], [one["use"] for one in order["payments"]]) == ("paid", ["underpaid", "order"])
    assert [one["reason_code"] for one in order["returned"]] == ["underpaid"]


async def test_m16_an_idempotency_key_belongs_to_one_request(shop):
    one, two = await shop.sell(), await shop.sell()
    await shop.register()
    key = {"Idempotency-Key": "K"}
    async with shop.learner() as client:
        for course_id in (one, two):
            await client.put(f"/v1/basket/items/{course_id}")
        first = await client.post("/v1/orders", json={"course_ids": [str(one)]}, headers=key)
        other = await client.post("/v1/orders", json={"course_ids": [str(two)]}, headers=key)
        again = await client.post("/v1/orders", json={"course_ids": [str(one)]}, headers=key)
        none = await client.post("/v1/orders", headers={"Idempotency-Key": ""})
    assert first.status_code == 201
    assert said(other) == (422, "idempotency_key_reused")
    assert (again.status_code, again.json()) == (201, first.json())
    assert said(none) == (400, "idempotency_key_missing")
    assert await shop.session.scalar(select(func.count()).select_from(Order)) == 1


async def test_checkout_leads_to_a_pay_page_that_greets_the_payer(shop):
    order = await shop.order(await shop.sell())
    answer = await shop.checkout(order, return_url="https://learn.example/thanks")
    view = answer.json()
    assert (answer.status_code, view["attempt_no"], view["amount"]["amount_minor"]) == (201, 1, 49500)
    page = await shop.control.get(view["pay_url"].replace("http://localhost:8006", ""))
    assert page.status_code == 200
    assert 'value="Ada"' in page.text
    assert "£495.00" in page.text


async def test_a_second_checkout_of_the_same_payer_leads_to_the_same_page(shop):
    order = await shop.order(await shop.sell())
    assert await shop.open_session(order) == await shop.open_session(order)


async def test_another_payer_gets_another_page_and_the_first_one_is_closed(shop):
    order = await shop.order(await shop.sell())
    first = await shop.open_session(order)
    second = await shop.open_session(order, payer={"email": "charles@example.org"})
    assert first != second
    await shop.run(close_checkouts)
    assert (await shop.control.get(f"/control/sessions/{first}")).json()["status"] == "expired"
    assert (await shop.control.get(f"/control/sessions/{second}")).json()["status"] == "open"


@pytest.mark.parametrize(
    "body",
    [
        {"payer": {"email": "nobody"}},
        {"payer": {"email": "a@b.c\nBcc: x@y.z"}},
        {"payer": {}},
        {"payer": {"email": "a@example.org", "country": "United Kingdom"}},
        {"payer": {"email": "a@example.org"}, "amount": 1},
    ],
)
async def test_a_checkout_that_makes_no_sense(shop, body):
    order = await shop.order(await shop.sell())
    assert said(await shop.checkout(order, **body)) == (422, "invalid_request")


async def test_a_payer_is_not_sent_to_strangers(shop):
    order = await shop.order(await shop.sell())
    refused = await shop.checkout(order, return_url="https://evil.example/")
    assert said(refused) == (422, "return_url_not_allowed")


async def test_m13_a_quote_holds_half_an_hour_and_then_both_prices_are_told(shop):
    course_id = await shop.sell(49500)
    order = await shop.order(course_id)
    await shop.price(course_id, 59500, shop.clock() + timedelta(minutes=1))
    shop.clock.advance(minutes=29)
    in_time = await shop.checkout(order)
    assert (in_time.status_code, in_time.json()["amount"]["amount_minor"]) == (201, 49500)
    shop.clock.advance(minutes=2)
    refused = await shop.checkout(order)
    assert said(refused) == (409, "price_changed")
    assert refused.json()["quoted"] == {"amount_minor": 49500, "currency": "GBP"}
    assert refused.json()["current"] == {"amount_minor": 59500, "currency": "GBP"}
    assert said(await shop.checkout(order, accepted_total=50000)) == (409, "price_changed")
    accepted = await shop.checkout(order, accepted_total=59500)
    assert (accepted.status_code, accepted.json()["amount"]["amount_minor"]) == (201, 59500)
    assert (await shop.read(order))["total"]["amount_minor"] == 59500


async def test_the_payer_pays_what_the_page_said_even_if_the_order_was_quoted_anew(shop):
    course_id = await shop.sell(49500)
    order = await shop.order(course_id)
    old_page = await shop.open_session(order)
    await shop.price(course_id, 59500, shop.clock() + timedelta(minutes=1))
    shop.clock.advance(minutes=31)
    await shop.open_session(order, accepted_total=59500)
    await shop.pay(old_page)
    paid = await shop.read(order)
    assert (paid["status"], paid["total"]["amount_minor"]) == ("paid", 49500)


async def test_why_a_checkout_is_refused(shop):
    course_id = await shop.sell()
    order = await shop.order(course_id)
    await shop.withdraw(course_id)
    assert said(await shop.checkout(order)) == (409, "course_not_on_sale")
    shop.clock.advance(hours=24)
    assert said(await shop.checkout(order)) == (409, "order_expired")
    bought, _ = await shop.buy(await shop.sell())
    assert said(await shop.checkout(bought)) == (409, "order_not_payable")
    assert said(await shop.checkout({"order_id": new_id()})) == (404, "not_found")


async def test_a_checkout_being_opened_is_not_opened_twice(shop):
    order = await shop.order(await shop.sell())
    shop.session.add(
        CheckoutAttempt(
            attempt_id=new_id(),
            order_id=UUID(order["order_id"]),
            attempt_no=1,
            reference="ord_x",
            status="opening",
            amount_minor=49500,
            currency="GBP",
            quote={},
            payer_email="ada@example.org",
            return_url="",
            started_at=shop.clock(),
        )
    )
    await shop.session.flush()
    assert said(await shop.checkout(order)) == (409, "checkout_running")
    shop.clock.advance(seconds=31)
    assert (await shop.checkout(order)).json()["attempt_no"] == 2


async def test_a_provider_that_is_away_answers_503_and_one_that_refuses_502(shop):
    order = await shop.order(await shop.sell())
    await shop.control.post("/control/failures", json={"seconds": 0})
    away = await shop.checkout(order)
    assert said(away) == (503, "provider_unavailable")
    assert away.headers["retry-after"] == "60"
    attempt = await shop.session.scalar(select(CheckoutAttempt))
    assert attempt.status == "unknown"
    again = await shop.checkout(order)
    assert (again.status_code, again.json()["attempt_no"]) == (201, 2)


async def test_a_provider_that_does_not_accept_our_key(shop, monkeypatch):
    order = await shop.order(await shop.sell())
    with monkeypatch.context() as patch:
        patch.setitem(shop.provider._http.headers, KEY_HEADER, "another")
        assert said(await shop.checkout(order)) == (503, "provider_unavailable")
    assert (await shop.checkout(order)).json()["attempt_no"] == 2


async def test_f1_a_purchase_can_be_cancelled_until_the_end_of_day_14(shop):
    shop.clock.at = datetime(2026, 11, 1, 10, tzinfo=UTC)
    order, _ = await shop.buy(await shop.sell())
    assert order["lines"][0]["refundable_until"] == "2026-11-16T00:00:00Z"
    shop.clock.at = datetime(2026, 11, 15, 23, 59, tzinfo=UTC)
    answer = await shop.refund(order)
    assert answer.status_code == 201
    assert (answer.json()["amount"]["amount_minor"], answer.json()["status"]) == (49500, "requested")
    (requested,) = [event for event in await published(shop.session) if isinstance(event, RefundRequested)]
    assert (requested.amount_minor, requested.reason_code) == (49500, "cooling_off")
    assert str(requested.order_line_id) == order["lines"][0]["order_line_id"]
    assert requested.requested_at == shop.clock()


async def test_why_a_refund_is_refused(shop):
    placed = await shop.order(await shop.sell())
    assert said(await shop.refund(placed)) == (409, "order_not_paid")
    order, _ = await shop.buy(await shop.sell())
    assert said(await shop.refund({**order, "lines": placed["lines"]})) == (404, "not_found")
    assert (await shop.refund(order)).status_code == 201
    assert said(await shop.refund(order)) == (409, "refund_already_requested")
    late, _ = await shop.buy(await shop.sell())
    shop.clock.advance(days=15)
    refused = await shop.refund(late)
    assert said(refused) == (409, "cooling_off_ended")
    assert refused.json()["ended_at"] == "2026-12-08T00:00:00Z"


async def test_a_course_given_back_can_be_bought_again(shop):
    course_id = await shop.sell()
    order, _ = await shop.buy(course_id)
    await shop.refund(order)
    again, _ = await shop.buy(course_id)
    assert again["status"] == "paid"


async def test_a_receipt_says_what_was_paid_and_what_went_back(shop):
    order = await shop.order(await shop.sell(title="Inference"), await shop.sell(59500, title="Strategy"))
    async with shop.learner() as client:
        assert said(await client.get(f"/v1/orders/{order['order_id']}/receipt")) == (409, "order_not_paid")
        payment = await shop.pay(await shop.open_session(order))
        await shop.refund(order, line=1)
        asked = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
        assert (asked["status"], asked["refunded"]["amount_minor"], asked["lines"][1]["refunded"]) == ("paid", 0, None)
        for _ in range(2):
            await shop.later(seconds=1)
        await shop.run(submit_refunds)
        for _ in range(2):
            await shop.later(seconds=1)
        receipt = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
        assert (await shop.read(order))["status"] == "partly_refunded"
        await shop.refund(order, line=0)
        await shop.run(submit_refunds)
        for _ in range(2):
            await shop.later(seconds=1)
        assert (await shop.read(order))["status"] == "refunded"
        assert (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()["status"] == "refunded"
    assert receipt["receipt_number"].startswith("MC-2026-")
    assert (receipt["status"], receipt["lines"][1]["refunded"]["amount_minor"]) == ("partly_refunded", 59500)
    assert (receipt["total"]["amount_minor"], receipt["refunded"]["amount_minor"]) == (109000, 59500)
    assert [line["title"] for line in receipt["lines"]] == ["Inference", "Strategy"]
    assert (receipt["method"], receipt["payment_reference"]) == ("card", payment["payment_id"])
    assert receipt["vat_treatment"] == "exempt"


async def test_the_receipt_of_a_payment_that_was_taken_back_says_so(shop):
    order, reference = await shop.buy(await shop.sell())
    shop.clock.advance(hours=1)
    await shop.status(reference, "cancelled")
    assert (await shop.read(order))["status"] == "reversed"
    async with shop.learner() as client:
        assert (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()["status"] == "reversed"


async def test_the_confirmation_letter_goes_to_the_payer_once(shop):
    order, _ = await shop.buy(await shop.sell(title="Inference"), await shop.sell(59500, title="Strategy"))
    (letter,) = await shop.session.scalars(select(Letter).where(Letter.kind == "payment_confirmed"))
    assert letter.recipient == "ada@example.org"
    for part in (
        "Inference (DS01)  £495.00",
        "Strategy (DS01)  £595.00",
        "Total paid: £1,090.00",
        order["receipt_number"],
        f"http://localhost:8000/receipts/{order['order_id']}/",
    ):
        assert part in letter.text


async def test_the_receipt_in_the_letter_is_a_page_that_only_its_address_opens(shop):
    order, _ = await shop.buy(await shop.sell(title="Inference & more"), await shop.sell(59500, title="Strategy"))
    unpaid = await shop.order(await shop.sell())
    (letter,) = await shop.session.scalars(select(Letter).where(Letter.kind == "payment_confirmed"))
    address = re.search(r"http://localhost:8000(/receipts/\S+)", letter.text)[1]
    async with shop.service.client() as anybody:
        page = await anybody.get(address)
        wrong = [
            await anybody.get(address[:-1] + ("1" if address[-1] == "0" else "0")),
            await anybody.get(address.replace(order["order_id"], unpaid["order_id"])),
            await anybody.get(address + "\u00e9"),
            await anybody.get(address + 100 * "0"),
            await anybody.get(address.rpartition("/")[0]),
            await anybody.get(address.rpartition("/")[0][:-3] + "/" + 32 * "0"),
            await anybody.get("/receipts/"),
            await anybody.get("/receipts"),
        ]
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-store"
    for part in (order["receipt_number"], "Inference &amp; more", "£495.00", "£1,090.00", "VAT: exempt"):
        assert part in page.text, part
    assert "Ada" not in page.text
    seen = re.sub("<[^>]*>", "", page.text)
    assert "PaidGone back" not in seen
    assert "Sold byMicrocredentials platform" in seen
    assert "Payerada@example.org" in seen
    for answer in wrong:
        assert (answer.status_code, "No such receipt" in answer.text) == (404, True)


async def test_lists_have_cursors(shop):
    orders = []
    for _ in range(3):
        orders.append(await shop.order(await shop.sell()))
        shop.clock.advance(seconds=1)
    async with shop.learner() as client:
        first = (await client.get("/v1/orders?limit=2")).json()
        rest = (await client.get(f"/v1/orders?limit=2&cursor={first['next_cursor']}")).json()
        assert said(await client.get("/v1/orders?cursor=nonsense")) == (400, "bad_cursor")
    assert [one["order_id"] for one in first["items"] + rest["items"]] == [o["order_id"] for o in reversed(orders)]
    assert rest["next_cursor"] is None


async def test_the_ledger_shows_balanced_postings(shop):
    order, _ = await shop.buy(await shop.sell())
    await shop.refund(order)
    async with shop.service.client("finance") as client:
        page = (await client.get(f"/v1/ledger?order_id={order['order_id']}")).json()
        first = (await client.get(f"/v1/ledger?order_id={order['order_id']}&limit=1")).json()
        following = await client.get(f"/v1/ledger?order_id={order['order_id']}&cursor={first['next_cursor']}")
    assert [one["kind"] for one in page["items"]] == ["sold", "refund_requested"]
    assert all(sum(entry["amount_minor"] for entry in one["entries"]) == 0 for one in page["items"])
    assert [one["kind"] for one in following.json()["items"]] == ["refund_requested"]


async def test_two_orders_of_one_basket_at_once_place_it_once(live_shop):
    shop = live_shop
    course_id = await shop.sell()
    await shop.register()
    async with shop.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        answers = await asyncio.gather(*(client.post("/v1/orders") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"basket_empty"}


async def test_two_refunds_of_one_line_at_once_give_one(live_shop):
    shop = live_shop
    order, _ = await shop.buy(await shop.sell())
    answers = await asyncio.gather(*(shop.refund(order) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
