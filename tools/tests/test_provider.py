"""The sandbox payment provider: its API, and its disturbances."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from embedded import provider

from .sandbox_harness import BODY, FILLED, KEY, SECRET, Clock, made


async def test_the_address_that_is_printed_has_a_page(harness):
    answer = await harness.browser.get("/")
    assert answer.status_code == 200
    assert "sandbox payment provider" in answer.text


async def test_the_api_needs_its_key(harness):
    for key in ("", "another"):
        answer = await harness.browser.get("/payments/v1/payments", headers={"X-Authentication-Key": key})
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"items": []}, "items"),
        ({"recipient": {"id": "x"}}, "recipient.id"),
        ({"external_reference": "x" * 51}, "external_reference"),
        ({"items": [{"id": "a", "amount": 1.5}]}, "items.0.amount"),
        ({"type": "subscription"}, "type"),
    ],
)
async def test_a_session_that_makes_no_sense_is_refused_by_name(harness, changes, param):
    answer = await harness.client.post("/payments/v1/checkout/sessions", json=BODY | changes)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["param"] == param


async def test_a_card_payment_lives_as_documented(harness):
    session_id = await harness.open()
    reference = await harness.pay(session_id)
    assert reference.startswith("FWU")
    assert harness.notified() == ["initiated", "processed"]
    for _ in range(2):
        await harness.later(1)
    assert harness.notified() == ["initiated", "processed", "guaranteed", "delivered"]
    first = harness.callbacks[0]
    assert first["event_resource"] == "payments"
    assert first["data"]["external_reference"] == "ord_1"
    assert (first["data"]["amount_to"], first["data"]["currency_to"]) == ("109000", "GBP")
    payment = (await harness.client.get(f"/payments/v1/payments/{reference}")).json()
    assert (payment["status"], payment["payment_method"]["type"]) == ("delivered", "card")
    again = await harness.client.post(f"/control/pay/{session_id}")
    assert again.status_code == 422


@pytest.mark.parametrize(
    ("name", "life"),
    [
        ("SANDBOX_TO_GUARANTEED_STATUS", ["initiated", "processed", "guaranteed"]),
        ("SANDBOX_TO_DELIVERED_STATUS", ["initiated", "processed", "guaranteed", "delivered"]),
        ("SANDBOX_TO_CANCEL_STATUS", ["initiated", "cancelled"]),
        (
            "SANDBOX_CANCELLED_BACK_TO_PROCESS_STATUS",
            ["initiated", "cancelled", "initiated", "processed", "guaranteed", "delivered"],
        ),
        ("SANDBOX_TO_VERIFICATION_FAILED", ["initiated", "processed", "cancelled"]),
    ],
)
async def test_a_magic_first_name_decides_what_becomes_of_a_payment(harness, name, life):
    await harness.pay(await harness.open(), first_name=name)
    for _ in range(5):
        await harness.later(1)
    assert harness.notified() == life


async def test_confirm_has_the_reference_once_the_form_is_complete(harness):
    session_id = await harness.open()
    path = f"/payments/v1/checkout/sessions/{session_id}/confirm"
    assert (await harness.client.post(path)).status_code == 422
    reference = await harness.pay(session_id)
    assert (await harness.client.post(path)).json() == {"payment_reference": reference}


async def test_sessions_expire_by_time_and_by_request(harness):
    timed, asked = await harness.open(), await harness.open()
    assert (await harness.client.post(f"/payments/v1/checkout/sessions/{asked}/expire")).json() == {"status": "expired"}
    await harness.later(3600)
    for session_id in (timed, asked):
        assert (await harness.browser.get(f"/pay/{session_id}")).status_code == 410
        assert (await harness.browser.post(f"/pay/{session_id}", data=FILLED)).status_code == 410
    assert harness.notified() == []


async def test_payments_are_listed_in_pages(harness):
    references = []
    for _ in range(3):
        references.append(await harness.pay(await harness.open()))
        await harness.later(10)
    page = (await harness.client.get("/payments/v1/payments?page=2&per_page=2")).json()
    assert [one["payment_id"] for one in page["payments"]] == references[2:]
    since = {"created_from": (harness.clock() - timedelta(seconds=25)).isoformat()}
    some = (await harness.client.get("/payments/v1/payments", params=since)).json()["payments"]
    assert [one["payment_id"] for one in some] == references[1:]
    for bad in ("page=0", "per_page=101", "page=x", "created_from=yesterday"):
        assert (await harness.client.get(f"/payments/v1/payments?{bad}")).status_code == 400


async def test_refunds_follow_flywires_rules(harness):
    reference = await harness.pay(await harness.open())
    path, body = f"/payments/v1/payments/{reference}/refunds", {"amount": 49500, "external_reference": "r1"}
    body["notifications_url"] = BODY["notifications_url"]
    early = await harness.client.post(path, json=body)
    assert (early.status_code, early.json()["title"]) == (422, "invalid_status")
    for _ in range(2):
        await harness.later(1)
    refund = (await harness.client.post(path, json=body)).json()
    assert (await harness.client.post(path, json=body)).json()["title"] == "active_refund"
    for _ in range(2):
        await harness.later(0.5)
    assert [event["event_type"] for event in harness.callbacks if event["event_resource"] == "refunds"] == [
        "initiated",
        "received",
        "finished",
    ]
    assert (await harness.client.get(f"/payments/v1/refunds/{refund['refund_id']}")).json()["status"] == "finished"
    assert (await harness.client.post(path, json=body | {"amount": 59501})).json()["title"] == "invalid_amount"
    second = (await harness.client.post(path, json=body | {"amount": 59500})).json()
    assert len((await harness.client.get(path)).json()["refunds"]) == 2
    cancel = f"/payments/v1/refunds/{second['refund_id']}/cancel"
    assert (await harness.client.post(cancel)).json()["status"] == "cancelled"
    assert (await harness.client.post(cancel)).status_code == 422


@pytest.mark.parametrize(("answers", "sent"), [([500, 0, 404], ["reversed"]), ([500, 0, 404, 401], [])])
async def test_a_callback_is_tried_three_times_more(harness, answers, sent):
    await harness.client.put("/control/callbacks", json={"mode": "drop"})
    reference = await harness.pay(await harness.open())
    await harness.client.put("/control/callbacks", json={"mode": "deliver"})
    harness.answers[:] = answers
    await harness.client.post(f"/control/payments/{reference}/status", json={"status": "reversed"})
    await harness.sandbox.run_due()
    for seconds in (3, 30):
        await harness.later(seconds)
        assert harness.notified() == []
    await harness.later(180)
    assert (harness.answers, harness.notified()) == ([], sent)
    await harness.later(86_400)
    assert (harness.notified(), list(harness.sandbox.books.all("delivery"))) == (sent, [])


async def test_one_payments_callbacks_go_in_turn_a_copy_at_the_same_time_and_other_payments_beside_it(tmp_path):
    """Sent together they would queue up on the order's lock; a copy is there to come at the same time."""
    async with made(tmp_path / "provider.sqlite") as harness:
        under_way: list[tuple[str, str]] = []
        seen: list[list[tuple[str, str]]] = []

        async def consume(request: httpx.Request) -> httpx.Response:
            event = json.loads(request.content)
            this = (event["data"]["payment_id"], event["event_type"])
            under_way.append(this)
            seen.append(list(under_way))
            await asyncio.sleep(0.02)
            under_way.remove(this)
            return httpx.Response(200)

        await harness.sandbox.http.aclose()
        harness.sandbox.http = httpx.AsyncClient(transport=httpx.MockTransport(consume))
        await harness.client.put("/control/callbacks", json={"copies": 2})
        running = asyncio.create_task(harness.sandbox.run())
        payments = [
            (await harness.client.post(f"/control/pay/{await harness.open()}", json={})).json()["payment_id"]
            for _ in "12"
        ]
        while harness.sandbox.books.get("payment", payments[1])["status"] != "processed" or len(seen) < 8:  # noqa: ASYNC110 - its books tell nobody
            await asyncio.sleep(0.02)
        running.cancel()
    for payment in payments:
        assert all(len({event for id_, event in moment if id_ == payment}) <= 1 for moment in seen)
    assert any(moment.count(one) == 2 for moment in seen for one in moment)
    assert any(len({id_ for id_, _ in moment}) == 2 for moment in seen)


async def test_callbacks_can_be_lost_doubled_held_and_turned_around(harness):
    async def disturb(**how: Any) -> None:
        (await harness.client.put("/control/callbacks", json=how)).raise_for_status()

    await disturb(mode="drop")
    await harness.pay(await harness.open())
    assert harness.notified() == []
    await disturb(copies=2)
    await harness.pay(await harness.open(), first_name="SANDBOX_TO_GUARANTEED_STATUS")
    assert harness.notified() == ["initiated", "initiated", "processed", "processed"]
    harness.callbacks.clear()
    await disturb(mode="hold")
    await harness.pay(await harness.open())
    assert harness.notified() == []
    await harness.client.post("/control/callbacks/release", json={"newest_first": True})
    await harness.sandbox.run_due()
    assert harness.notified() == ["processed", "initiated"]
    harness.callbacks.clear()
    await disturb(delay_seconds=60)
    await harness.pay(await harness.open())
    assert harness.notified() == []


async def test_a_create_can_time_out_with_or_without_effect(harness):
    for takes_effect, sessions in ((False, 0), (True, 1)):
        await harness.client.post("/control/failures", json={"seconds": 0, "takes_effect": takes_effect})
        assert (await harness.client.post("/payments/v1/checkout/sessions", json=BODY)).status_code == 504
        assert len(list(harness.sandbox.books.all("session"))) == sessions
    await harness.open()


async def test_a_restart_forgets_nothing_and_goes_on(tmp_path):
    file, clock = tmp_path / "provider.sqlite", Clock()
    async with made(file, clock) as harness:
        harness.answers[:] = [0, 0]
        reference = await harness.pay(await harness.open())
        assert harness.notified() == []
    async with made(file, clock) as harness:
        for _ in range(3):
            await harness.later(3)
        assert sorted(harness.notified()) == ["delivered", "guaranteed", "initiated", "processed"]
        assert (await harness.client.get(f"/payments/v1/payments/{reference}")).json()["status"] == "delivered"


async def test_it_runs_by_itself_when_served(tmp_path):
    callbacks = asyncio.Queue[str]()

    def consume(request: httpx.Request) -> httpx.Response:
        callbacks.put_nowait(json.loads(request.content)["event_type"])
        return httpx.Response(200)

    settings = provider.Settings(
        api_key=SecretStr(KEY),
        shared_secret=SecretStr(SECRET),
        guaranteed_after_seconds=0.02,
        delivered_after_seconds=0.02,
    )
    app = provider.build(settings, http=httpx.AsyncClient(transport=httpx.MockTransport(consume)))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client,
    ):
        headers = {"X-Authentication-Key": KEY}
        opened = await client.post("/payments/v1/checkout/sessions", json=BODY, headers=headers)
        await client.post(f"/control/pay/{opened.json()['id']}")
        async with asyncio.timeout(10):
            sent = [await callbacks.get() for _ in range(4)]
    assert sorted(sent) == ["delivered", "guaranteed", "initiated", "processed"]


async def test_what_has_ended_of_a_refund_goes_on_only_as_the_provider_may(harness):
    reference = await harness.pay(await harness.open())
    for _ in range(2):
        await harness.later(1)
    body = {"amount": 100, "external_reference": "r1", "notifications_url": BODY["notifications_url"]}
    refund = (await harness.client.post(f"/payments/v1/payments/{reference}/refunds", json=body)).json()
    path = f"/control/refunds/{refund['refund_id']}/status"
    for status, code in (
        ("finished", 200),
        ("cancelled", 422),
        ("received", 200),
        ("finished", 200),
        ("returned", 200),
        ("finished", 422),
        ("received", 200),
        ("a word of tomorrow", 200),
        ("cancelled", 200),
        ("received", 422),
    ):
        assert (await harness.client.post(path, json={"status": status})).status_code == code, status
