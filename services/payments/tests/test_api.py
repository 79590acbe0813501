"""Checkout, refunds, receipts and lists as the front end meets them; each refusal by its code."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select

from payments.adapters.flywire import KEY_HEADER
from payments.jobs import close_checkouts, submit_refunds
from payments.tables import CheckoutAttempt, Order
from shared.events.payments import RefundRequested
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail
from shared.testing.services import published

from .orders import said


async def test_an_order_says_that_a_card_was_declined_and_can_be_paid_again(driver):
    order = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    [under_way] = (await driver.read(order))["payments"]
    assert (under_way["status"], under_way["use"]) == ("under_way", None)
    await driver.later(seconds=1)
    [declined] = (await driver.read(order))["payments"]
    assert (declined["status"], declined["amount"]["amount_minor"]) == ("declined", 49500)
    await driver.pay(await driver.open_session(order))
    order = await driver.read(order)
    assert (order["status"], [one["status"] for one in order["payments"]]) == ("paid", ["declined", "received"])


async def test_whoever_could_enrol_can_pay_however_long_the_name(driver):
    """Enrolment takes 200 characters; the provider, whose limit nobody knows, is sent the beginning."""
    order = await driver.order(await driver.sell())
    payer = {"email": "ada@example.org", "given_name": "A" * 200, "family_name": "\N{HANGUL SYLLABLE GA}" * 200}
    sent = driver.sandbox.session(await driver.open_session(order, payer=payer))["payor"]
    assert (sent["first_name"], sent["last_name"]) == ("A" * 100, "\N{HANGUL SYLLABLE GA}" * 100)


async def test_a_bank_transfer_under_way_is_shown_and_the_order_is_not_sold_twice(driver):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), method="bank_transfer")
    refused = await driver.checkout(order, payer={"email": "charles@example.org"})
    assert said(refused) == (409, "payment_under_way")
    assert (refused.json()["payment_reference"], refused.json()["method"]) == (payment["payment_id"], "bank_transfer")
    assert len(list(driver.sandbox.books.all("session"))) == 1
    for _ in range(2):
        await driver.later(seconds=1)
    assert (await driver.read(order))["status"] == "paid"


async def test_an_underpaid_order_is_paid_as_the_email_says(driver):
    """By the same person, from the same page."""
    order = await driver.order(await driver.sell())
    first = await driver.open_session(order)
    await driver.pay(first, amount=100)
    again = await driver.checkout(order)
    assert (again.status_code, again.json()["amount"]["amount_minor"]) == (201, 49500)
    second = again.json()["pay_url"].rpartition("/")[2]
    assert driver.sandbox.session(second)["status"] == "open"
    await driver.pay(second)
    order = await driver.read(order)
    assert (order["status"], [one["use"] for one in order["payments"]]) == ("paid", ["underpaid", "order"])
    assert [one["reason_code"] for one in order["returned"]] == ["underpaid"]


async def test_m16_an_idempotency_key_belongs_to_one_request(driver):
    one, two = await driver.sell(), await driver.sell()
    await driver.register()
    key = {"Idempotency-Key": "K"}
    async with driver.learner() as client:
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
    assert await driver.session.scalar(select(func.count()).select_from(Order)) == 1


async def test_checkout_leads_to_a_pay_page_that_greets_the_payer(driver):
    order = await driver.order(await driver.sell())
    answer = await driver.checkout(order, return_url="https://learn.example/thanks")
    view = answer.json()
    assert (answer.status_code, view["attempt_no"], view["amount"]["amount_minor"]) == (201, 1, 49500)
    page = await driver.control.get(view["pay_url"].replace("http://localhost:8006", ""))
    assert page.status_code == 200
    assert 'value="Ada"' in page.text
    assert "£495.00" in page.text


async def test_a_second_checkout_of_the_same_payer_leads_to_the_same_page(driver):
    order = await driver.order(await driver.sell())
    assert await driver.open_session(order) == await driver.open_session(order)


async def test_another_payer_gets_another_page_and_the_first_one_is_closed(driver):
    order = await driver.order(await driver.sell())
    first = await driver.open_session(order)
    second = await driver.open_session(order, payer={"email": "charles@example.org"})
    assert first != second
    await driver.run(close_checkouts)
    assert (await driver.control.get(f"/control/sessions/{first}")).json()["status"] == "expired"
    assert (await driver.control.get(f"/control/sessions/{second}")).json()["status"] == "open"


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
async def test_a_checkout_that_makes_no_sense(driver, body):
    order = await driver.order(await driver.sell())
    assert said(await driver.checkout(order, **body)) == (422, "invalid_request")


async def test_a_payer_is_not_sent_to_strangers(driver):
    order = await driver.order(await driver.sell())
    refused = await driver.checkout(order, return_url="https://evil.example/")
    assert said(refused) == (422, "return_url_not_allowed")


async def test_m13_a_quote_holds_half_an_hour_and_then_both_prices_are_stated(driver):
    course_id = await driver.sell(49500)
    order = await driver.order(course_id)
    await driver.price(course_id, 59500, driver.clock() + timedelta(minutes=1))
    driver.clock.advance(minutes=29)
    in_time = await driver.checkout(order)
    assert (in_time.status_code, in_time.json()["amount"]["amount_minor"]) == (201, 49500)
    driver.clock.advance(minutes=2)
    refused = await driver.checkout(order)
    assert said(refused) == (409, "price_changed")
    assert refused.json()["quoted"] == {"amount_minor": 49500, "currency": "GBP"}
    assert refused.json()["current"] == {"amount_minor": 59500, "currency": "GBP"}
    assert said(await driver.checkout(order, accepted_total=50000)) == (409, "price_changed")
    accepted = await driver.checkout(order, accepted_total=59500)
    assert (accepted.status_code, accepted.json()["amount"]["amount_minor"]) == (201, 59500)
    assert (await driver.read(order))["total"]["amount_minor"] == 59500


async def test_the_payer_pays_what_the_page_said_even_if_the_order_was_quoted_anew(driver):
    course_id = await driver.sell(49500)
    order = await driver.order(course_id)
    old_page = await driver.open_session(order)
    await driver.price(course_id, 59500, driver.clock() + timedelta(minutes=1))
    driver.clock.advance(minutes=31)
    await driver.open_session(order, accepted_total=59500)
    await driver.pay(old_page)
    paid = await driver.read(order)
    assert (paid["status"], paid["total"]["amount_minor"]) == ("paid", 49500)


async def test_why_a_checkout_is_refused(driver):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    await driver.withdraw(course_id)
    assert said(await driver.checkout(order)) == (409, "course_not_on_sale")
    driver.clock.advance(hours=24)
    assert said(await driver.checkout(order)) == (409, "order_expired")
    bought, _ = await driver.buy(await driver.sell())
    assert said(await driver.checkout(bought)) == (409, "order_not_payable")
    assert said(await driver.checkout({"order_id": new_id()})) == (404, "not_found")


async def test_a_checkout_being_opened_is_not_opened_twice(driver):
    order = await driver.order(await driver.sell())
    driver.session.add(
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
            started_at=driver.clock(),
        )
    )
    await driver.session.flush()
    assert said(await driver.checkout(order)) == (409, "checkout_running")
    driver.clock.advance(seconds=31)
    assert (await driver.checkout(order)).json()["attempt_no"] == 2


async def test_a_provider_that_is_away_answers_503_and_one_that_refuses_502(driver):
    order = await driver.order(await driver.sell())
    await driver.control.post("/control/failures", json={"seconds": 0})
    away = await driver.checkout(order)
    assert said(away) == (503, "provider_unavailable")
    assert away.headers["retry-after"] == "60"
    attempt = await driver.session.scalar(select(CheckoutAttempt))
    assert attempt.status == "unknown"
    again = await driver.checkout(order)
    assert (again.status_code, again.json()["attempt_no"]) == (201, 2)


async def test_a_provider_that_does_not_accept_our_key(driver, monkeypatch):
    order = await driver.order(await driver.sell())
    with monkeypatch.context() as patch:
        patch.setitem(driver.provider._http.headers, KEY_HEADER, "another")
        assert said(await driver.checkout(order)) == (503, "provider_unavailable")
    assert (await driver.checkout(order)).json()["attempt_no"] == 2


async def test_f1_a_purchase_can_be_cancelled_until_the_end_of_day_14(driver):
    driver.clock.at = datetime(2026, 11, 1, 10, tzinfo=UTC)
    order, _ = await driver.buy(await driver.sell())
    assert order["lines"][0]["refundable_until"] == "2026-11-16T00:00:00Z"
    driver.clock.at = datetime(2026, 11, 15, 23, 59, tzinfo=UTC)
    answer = await driver.refund(order)
    assert answer.status_code == 201
    assert (answer.json()["amount"]["amount_minor"], answer.json()["status"]) == (49500, "requested")
    (requested,) = [event for event in await published(driver.session) if isinstance(event, RefundRequested)]
    assert (requested.amount_minor, requested.reason_code) == (49500, "cooling_off")
    assert str(requested.order_line_id) == order["lines"][0]["order_line_id"]
    assert requested.requested_at == driver.clock()


async def test_why_a_refund_is_refused(driver):
    placed = await driver.order(await driver.sell())
    assert said(await driver.refund(placed)) == (409, "order_not_paid")
    order, _ = await driver.buy(await driver.sell())
    assert said(await driver.refund({**order, "lines": placed["lines"]})) == (404, "not_found")
    assert (await driver.refund(order)).status_code == 201
    assert said(await driver.refund(order)) == (409, "refund_already_requested")
    late, _ = await driver.buy(await driver.sell())
    driver.clock.advance(days=15)
    refused = await driver.refund(late)
    assert said(refused) == (409, "cooling_off_ended")
    assert refused.json()["ended_at"] == "2026-12-08T00:00:00Z"


async def test_a_course_given_back_can_be_bought_again(driver):
    course_id = await driver.sell()
    order, _ = await driver.buy(course_id)
    await driver.refund(order)
    again, _ = await driver.buy(course_id)
    assert again["status"] == "paid"


async def test_a_receipt_says_what_was_paid_and_what_went_back(driver):
    order = await driver.order(await driver.sell(title="Inference"), await driver.sell(59500, title="Strategy"))
    async with driver.learner() as client:
        assert said(await client.get(f"/v1/orders/{order['order_id']}/receipt")) == (409, "order_not_paid")
        payment = await driver.pay(await driver.open_session(order))
        await driver.refund(order, line=1)
        asked = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
        assert (asked["status"], asked["refunded"]["amount_minor"], asked["lines"][1]["refunded"]) == ("paid", 0, None)
        for _ in range(2):
            await driver.later(seconds=1)
        await driver.run(submit_refunds)
        for _ in range(2):
            await driver.later(seconds=1)
        receipt = (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()
        assert (await driver.read(order))["status"] == "partly_refunded"
        await driver.refund(order, line=0)
        await driver.run(submit_refunds)
        for _ in range(2):
            await driver.later(seconds=1)
        assert (await driver.read(order))["status"] == "refunded"
        assert (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()["status"] == "refunded"
    assert receipt["receipt_number"].startswith("MC-2026-")
    assert (receipt["status"], receipt["lines"][1]["refunded"]["amount_minor"]) == ("partly_refunded", 59500)
    assert (receipt["total"]["amount_minor"], receipt["refunded"]["amount_minor"]) == (109000, 59500)
    assert [line["title"] for line in receipt["lines"]] == ["Inference", "Strategy"]
    assert (receipt["method"], receipt["payment_reference"]) == ("card", payment["payment_id"])
    assert receipt["vat_treatment"] == "exempt"


async def test_the_receipt_of_a_payment_that_was_taken_back_says_so(driver):
    order, reference = await driver.buy(await driver.sell())
    driver.clock.advance(hours=1)
    await driver.status(reference, "cancelled")
    assert (await driver.read(order))["status"] == "reversed"
    async with driver.learner() as client:
        assert (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()["status"] == "reversed"


async def test_the_confirmation_email_goes_to_the_payer_once(driver):
    order, _ = await driver.buy(await driver.sell(title="Inference"), await driver.sell(59500, title="Strategy"))
    (email,) = await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "payment_confirmed"))
    assert email.recipient == "ada@example.org"
    for part in (
        "Inference (DS01)  £495.00",
        "Strategy (DS01)  £595.00",
        "Total paid: £1,090.00",
        order["receipt_number"],
        f"http://localhost:8000/receipts/{order['order_id']}/",
    ):
        assert part in email.text


async def test_the_receipt_in_the_email_is_a_page_that_only_its_address_opens(driver):
    order, _ = await driver.buy(await driver.sell(title="Inference & more"), await driver.sell(59500, title="Strategy"))
    unpaid = await driver.order(await driver.sell())
    (email,) = await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "payment_confirmed"))
    address = re.search(r"http://localhost:8000(/receipts/\S+)", email.text)[1]
    wrong = [
        address[:-1] + ("1" if address[-1] == "0" else "0"),
        address.replace(order["order_id"], unpaid["order_id"]),
        address + "\u00e9",
        address + 100 * "0",
        address.rpartition("/")[0],
        address.rpartition("/")[0][:-3] + "/" + 32 * "0",
        "/receipts/",
        "/receipts",
        "/receipts/x",
    ]
    async with driver.service.client() as anybody:
        page = await anybody.get(address)
        to_people = [await anybody.get(one, headers={"Accept": "text/html,*/*;q=0.8"}) for one in wrong]
        to_programs = [await anybody.get(one, headers={"Accept": "application/json"}) for one in wrong]
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-store"
    for part in (order["receipt_number"], "Inference &amp; more", "£495.00", "£1,090.00", "VAT: exempt"):
        assert part in page.text, part
    assert "Ada" not in page.text
    seen = re.sub("<[^>]*>", "", page.text)
    assert "PaidGone back" not in seen
    assert "Sold byMicrocredentials platform" in seen
    assert "Payerada@example.org" in seen
    for answer in to_people:
        assert (answer.status_code, "No such receipt" in answer.text) == (404, True)
        assert answer.headers["vary"] == "Accept"
    for answer in to_programs:
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_lists_have_cursors(driver):
    orders = []
    for _ in range(3):
        orders.append(await driver.order(await driver.sell()))
        driver.clock.advance(seconds=1)
    async with driver.learner() as client:
        first = (await client.get("/v1/orders?limit=2")).json()
        rest = (await client.get(f"/v1/orders?limit=2&cursor={first['next_cursor']}")).json()
        assert said(await client.get("/v1/orders?cursor=nonsense")) == (400, "bad_cursor")
    assert [one["order_id"] for one in first["items"] + rest["items"]] == [o["order_id"] for o in reversed(orders)]
    assert rest["next_cursor"] is None


async def test_the_ledger_shows_balanced_postings(driver):
    order, _ = await driver.buy(await driver.sell())
    await driver.refund(order)
    async with driver.service.client("finance") as client:
        page = (await client.get(f"/v1/ledger?order_id={order['order_id']}")).json()
        first = (await client.get(f"/v1/ledger?order_id={order['order_id']}&limit=1")).json()
        following = await client.get(f"/v1/ledger?order_id={order['order_id']}&cursor={first['next_cursor']}")
    assert [one["kind"] for one in page["items"]] == ["sold", "refund_requested"]
    assert all(sum(entry["amount_minor"] for entry in one["entries"]) == 0 for one in page["items"])
    assert [one["kind"] for one in following.json()["items"]] == ["refund_requested"]


async def test_two_refunds_of_one_line_at_once_give_one(live_driver):
    driver = live_driver
    order, _ = await driver.buy(await driver.sell())
    answers = await asyncio.gather(*(driver.refund(order) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
