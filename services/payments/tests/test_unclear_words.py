"""A null where a reference may be, a word nobody knows, a word about something else, and a date that cannot be are not
known yet: they take nothing back, stand for nothing that is not there, and lead to no second payout."""

import json

import pytest
from sqlalchemy import select
from starlette.responses import JSONResponse

from embedded.provider import api as provider_api
from payments.adapters.provider import ProviderUnavailable
from payments.jobs import ask_about_payments, compare_with_provider, find_payments, follow_refunds, submit_refunds
from payments.tables import Refund
from shared.events.payments import RefundCompleted, RefundFailed
from shared.messaging.tables import QueuedEmail


async def bought(driver, lines=2):
    order, reference = await driver.buy(*[await driver.sell() for _ in range(lines)])
    await driver.deliver(reference)
    return order, reference


async def refunded(driver):
    """An order of one line that was paid back; and the provider's refund."""
    order, reference = await bought(driver, 1)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    for _ in range(3):
        await driver.later(seconds=2)
    assert await status_of(driver, order) == "completed"
    return order, refund


async def status_of(driver, order, line=0):
    return (await driver.read(order))["lines"][line]["refund"]["status"]


async def say(driver, refund, status, *, at=None, **changes):
    """A callback about a refund; what it came to."""
    driver.clock.advance(seconds=1)
    names = ("refund_id", "payment_id", "amount", "currency", "external_reference")
    data = {name: refund[name] for name in names} | {"status": status} | changes
    date = (at or driver.clock()).isoformat()
    body = {"event_type": status, "event_date": date, "event_resource": "refunds", "data": data}
    return (await driver.callback(json.dumps(body).encode())).json()["outcome"]


async def days_go_by(driver, rounds=4):
    for pause in [{"minutes": 10}] * rounds + [{"hours": 25}] * 3:
        await driver.later(**pause)
        await driver.run(find_payments, ask_about_payments, submit_refunds, follow_refunds, compare_with_provider)


def without_references(driver, monkeypatch, public_urls, kind="refund_id"):
    """The provider leaves our reference null in these places: its answer to the creation, its other answers, its
    callbacks."""
    creating = []
    public, call_back, create = provider_api.public, driver.sandbox._call_back, driver.sandbox.create_refund

    def shown(record):
        null = kind in record and ("answer" if creating else "list") in public_urls
        creating.clear()
        return {**public(record), **({"external_reference": None} if null else {})}

    def created(*arguments):
        made = create(*arguments)
        creating.append(made)
        return made

    def announced(url, event_type, resource, at, data):
        null = "callbacks" in public_urls and kind in data
        return call_back(url, event_type, resource, at, {**data, **({"external_reference": None} if null else {})})

    monkeypatch.setattr(provider_api, "public", shown)
    monkeypatch.setattr(driver.sandbox, "create_refund", created)
    monkeypatch.setattr(driver.sandbox, "_call_back", announced)


def first_creation_times_out(driver, monkeypatch):
    create, asked = driver.provider.create_refund, []

    async def slowly(*arguments):
        asked.append(arguments)
        said = await create(*arguments)
        if len(asked) == 1:
            raise ProviderUnavailable("it took effect, and nobody learnt of it")
        return said

    monkeypatch.setattr(driver.provider, "create_refund", slowly)


PLACES = [
    ("answer",),
    ("list",),
    ("callbacks",),
    ("answer", "list"),
    ("list", "callbacks"),
    ("answer", "callbacks"),
    ("answer", "list", "callbacks"),
]


@pytest.mark.parametrize("timed_out", [False, True])
@pytest.mark.parametrize("public_urls", PLACES, ids="+".join)
async def test_a_refund_without_our_reference_is_paid_once(driver, monkeypatch, public_urls, timed_out):
    order, reference = await bought(driver)
    without_references(driver, monkeypatch, public_urls)
    if timed_out:
        first_creation_times_out(driver, monkeypatch)
    await driver.refund(order)
    await driver.run(submit_refunds)
    await days_go_by(driver)
    assert [(one["amount"], one["status"]) for one in driver.sandbox.refunds(reference)] == [(49500, "finished")]
    assert await status_of(driver, order) == "completed"
    assert (len(await driver.announced(RefundCompleted)), await driver.announced(RefundFailed)) == (1, [])
    assert await driver.balances() == {"cash": 49500, "sales": -49500}


@pytest.mark.parametrize("external", [None, "by hand"])
async def test_nothing_is_sent_beside_a_refund_that_nobody_can_explain(driver, external):
    """It was made by hand, for all we know for this line."""
    order, reference = await bought(driver)
    by_hand = driver.sandbox.create_refund(reference, 49500, external, "")
    for _ in range(3):
        await driver.later(seconds=2)
    await driver.refund(order)
    await days_go_by(driver)
    assert driver.sandbox.refunds(reference) == [by_hand]
    assert await status_of(driver, order) == "requested"
    row = (await driver.unmatched())["unknown_refund"]
    assert (row.reference, str(row.order_id)) == (by_hand["refund_id"], order["order_id"])


async def test_the_rest_of_what_was_paid_in_part_is_not_the_whole_though_the_list_leaves_that_out(driver, monkeypatch):
    order, reference = await bought(driver)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    refund["plan"], refund["amount"], refund["status"] = [], 40000, "finished"
    await say(driver, refund, "finished")
    shown = (await driver.read(order))["lines"][0]["refund"]
    async with driver.service.client("finance") as finance:
        path = f"/v1/orders/{order['order_id']}/refunds/{shown['refund_id']}/retry"
        assert (await finance.post(path)).status_code == 200
    look = driver.provider.refunds_of

    async def forgetful(asked):
        return [one for one in await look(asked) if one.provider_refund_id != refund["refund_id"]]

    monkeypatch.setattr(driver.provider, "refunds_of", forgetful)
    await driver.run(submit_refunds)
    assert [one["amount"] for one in driver.sandbox.refunds(reference)] == [40000, 9500]


@pytest.mark.parametrize("source", ["callback", "list"])
async def test_a_word_nobody_knows_takes_back_no_refund_that_was_paid(driver, source):
    order, refund = await refunded(driver)
    before = len((await driver.session.scalars(select(QueuedEmail))).all())
    refund["status"] = "archived"
    driver.sandbox.books.put("refund", refund["refund_id"], refund)
    if source == "callback":
        assert await say(driver, refund, "archived") == "not_known_yet"
    await days_go_by(driver)
    assert await status_of(driver, order) == "completed"
    assert (await driver.unmatched())["unknown_status"].provider_status == "archived"
    assert len((await driver.session.scalars(select(QueuedEmail))).all()) == before
    assert len(await driver.announced(RefundCompleted)) == 1
    assert await driver.balances() == {}
    refund["status"] = "returned"  # and what comes after it still counts
    assert await say(driver, refund, "returned") == "applied"
    assert await status_of(driver, order) == "returned"


@pytest.mark.parametrize(
    "public_urls", [("list",), ("list", "callbacks"), ("callbacks",), ("lost",), ("list", "lost")], ids="+".join
)
async def test_a_payment_without_our_reference_is_found_by_our_session(driver, monkeypatch, public_urls):
    without_references(driver, monkeypatch, public_urls, kind="payment_method")
    if "lost" in public_urls:
        await driver.control.put("/control/callbacks", json={"mode": "drop"})
    order = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(order))
    await days_go_by(driver)
    assert (await driver.read(order))["status"] == "paid"


async def test_a_payment_of_our_session_that_names_another_checkout_is_not_taken_for_ours(driver, monkeypatch):
    public = provider_api.public
    monkeypatch.setattr(
        provider_api,
        "public",
        lambda one: public(one) | ({"external_reference": "another"} if "payment_method" in one else {}),
    )
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order))
    await days_go_by(driver)
    assert (await driver.read(order))["payments"] == []
    assert (await driver.unmatched())["unknown_reference"].reference == payment["payment_id"]


@pytest.mark.parametrize("named", ["RF-other", None])
async def test_a_word_about_a_refund_of_another_payment_is_not_believed(driver, named):
    order, reference = await bought(driver)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    refund["plan"] = []
    changes = {"refund_id": named or refund["refund_id"], "payment_id": "FWU000000001"}
    assert await say(driver, refund, "finished", **changes) == "unmatched"
    assert "unknown_refund" in await driver.unmatched()
    await days_go_by(driver)
    assert await status_of(driver, order) == "submitted"


async def test_an_answer_about_another_than_was_asked_about_tells_nothing(driver, monkeypatch):
    order, reference = await bought(driver)
    _, other = await bought(driver)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    public = provider_api.public
    names = {"payment_id": other, "refund_id": "RF-other"}
    monkeypatch.setattr(
        provider_api, "public", lambda one: public(one) | {key: names[key] for key in names if key in one}
    )
    with pytest.raises(ProviderUnavailable):
        await driver.provider.fetch_payment(reference)
    with pytest.raises(ProviderUnavailable):
        await driver.provider.fetch_refund(refund["refund_id"])


async def test_a_word_dated_in_the_future_is_a_question_and_holds_up_nothing(driver):
    order, reference = await bought(driver)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    refund["plan"] = []
    year = driver.clock().replace(year=driver.clock().year + 1)
    assert await say(driver, refund, "cancelled", at=year) == "asking"
    await driver.run(follow_refunds)
    assert await status_of(driver, order) == "submitted"
    assert await say(driver, refund, refund["status"], at=year) == "asking"  # and sets no date
    refund["status"] = "finished"
    assert await say(driver, refund, "finished") == "applied"
    assert await status_of(driver, order) == "completed"


async def test_nor_does_the_first_word_of_a_payment_that_is_dated_in_the_future(driver):
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    order = await driver.order(await driver.sell())
    reference = (await driver.pay(await driver.open_session(order)))["payment_id"]
    driver.sandbox.payment(reference)["plan"] = []

    async def call_back(status, year):
        driver.sandbox.set_status(driver.sandbox.payment(reference), status)
        body = json.loads(list(driver.sandbox.books.all("delivery"))[-1]["body"])
        body["event_date"] = body["event_date"].replace(body["event_date"][:4], str(year))
        return (await driver.callback(json.dumps(body).encode())).json()["outcome"]

    assert await call_back("processed", driver.clock().year + 1) == "applied"
    assert await call_back("cancelled", driver.clock().year + 1) == "asking"
    assert (await driver.read(order))["status"] == "paid"
    driver.clock.advance(minutes=11)
    assert await call_back("guaranteed", driver.clock().year) == "applied"


async def test_a_refund_callback_that_cannot_be_read_has_the_provider_asked_about_the_refund(driver):
    order, refund = await refunded(driver)
    driver.clock.advance(days=40)
    refund["status"] = "returned"
    driver.sandbox.books.put("refund", refund["refund_id"], refund)
    assert await say(driver, refund, "returned", amount=None) == "asking"
    row = (await driver.unmatched())["not_understood"]
    assert (row.reference, str(row.order_id)) == (refund["refund_id"], order["order_id"])
    await driver.run(follow_refunds)
    assert await status_of(driver, order) == "returned"
    assert await driver.unmatched() == {}


async def test_a_refund_that_is_being_sent_is_left_to_its_sender(driver):
    """Else another replica would send it too."""
    order, reference = await bought(driver, 1)
    await driver.refund(order)
    failure = {"operation": "create_refund", "times": 1, "seconds": 0, "takes_effect": False}
    await driver.control.post("/control/failures", json=failure)
    await driver.run(submit_refunds)
    row = await driver.session.scalar(select(Refund))
    assert row.status == "submitting"
    until = row.ask_at
    refund = {
        "refund_id": "RF-unread",
        "payment_id": reference,
        "amount": None,
        "currency": "GBP",
        "external_reference": str(row.refund_id),
    }
    assert await say(driver, refund, "finished") == "asking"
    await driver.session.refresh(row)
    assert row.ask_at == until


async def test_two_words_of_one_instant_that_tell_other_sums_are_two(driver):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), amount=100)
    reference = payment["payment_id"]
    driver.sandbox.payment(reference)["plan"] = []
    driver.clock.advance(seconds=2)
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    outcomes = []
    for amount in (100, 49500):
        record = driver.sandbox.payment(reference)
        record["amount_to"] = amount
        driver.sandbox.set_status(record, "delivered")
        body = list(driver.sandbox.books.all("delivery"))[-1]["body"].encode()
        outcomes.append((await driver.callback(body)).json()["outcome"])
    assert outcomes == ["applied", "asking"]
    await driver.run(ask_about_payments)
    assert (await driver.read(order))["status"] == "paid"


@pytest.mark.parametrize("body", [b"[" * 60000, b'{"a":' * 12000, b"1" * 5000], ids=["lists", "objects", "digits"])
async def test_a_body_of_any_depth_is_only_not_understood(driver, body):
    assert (await driver.callback(body)).json()["outcome"] == "not_understood"


ODD_SESSIONS = [
    {"id": "a\x00b"},
    {"id": "a/b"},
    {"id": "x" * 200},
    {"expires_in_seconds": 10**30},
    {"expires_in_seconds": -1},
    {"hosted_form": {"url": "javascript:alert(1)"}},
    {"hosted_form": {"url": "/pay"}},
    {"hosted_form": {"url": "https://pay.example/a b"}},
    {"hosted_form": {"url": "http://["}},
    {"hosted_form": {"url": "https://:443/pay"}},
    {"hosted_form": {"url": "https://pay.example:99999/"}},
]


@pytest.mark.parametrize("odd", ODD_SESSIONS, ids=[str(n) for n in range(len(ODD_SESSIONS))])
async def test_a_pay_page_that_cannot_be_is_an_answer_that_is_not_understood(driver, monkeypatch, odd):
    order = await driver.order(await driver.sell())

    def respond(content, status=200):
        return JSONResponse(content | odd if status == 201 else content, status)

    monkeypatch.setattr(provider_api, "JSONResponse", respond)
    answer = await driver.checkout(order)
    assert answer.status_code == 503
    assert "pay_url" not in answer.json()
