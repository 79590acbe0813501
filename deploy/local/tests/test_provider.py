"""The sandbox payment provider: its API, its pay page as a person and a screen reader meet it, its disturbances."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from embedded import provider
from embedded.provider.sandbox import Sandbox
from embedded.provider.shapes import sign

KEY, SECRET = "api-key", "shared-secret"


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Desk:
    """A sandbox, a client with the key, and what it told the platform."""

    client: httpx.AsyncClient
    browser: httpx.AsyncClient
    sandbox: Sandbox
    clock: Clock
    heard: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses with which the platform answers the next callbacks; 200 after that."""

    async def open(self, **changes: Any) -> str:
        answer = await self.client.post("/payments/v1/checkout/sessions", json=WISH | changes)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def pay(self, session_id: str, **body: Any) -> str:
        answer = await self.client.post(f"/control/pay/{session_id}", json=body)
        assert answer.status_code == 201, answer.text
        await self.sandbox.run_due()
        return answer.json()["payment_id"]

    async def later(self, seconds: float) -> None:
        self.clock.at += timedelta(seconds=seconds)
        await self.sandbox.run_due()

    def told(self) -> list[str]:
        return [event["event_type"] for event in self.heard]


WISH = {
    "type": "one_off",
    "charge_intent": {"mode": "one_off"},
    "payor": {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.org", "country": "GB"},
    "options": {"form": {"return_url": "https://learn.example/back?order=1"}},
    "recipient": {"id": "FWU", "fields": [{"id": "order_reference", "value": "ord_1"}]},
    "currency": "GBP",
    "items": [
        {"id": "DS01", "description": "Inference <script>", "amount": 49500},
        {"id": "MG01", "description": "Strategy", "amount": 59500},
    ],
    "notifications_url": "http://platform/v1/payment-notifications",
    "external_reference": "ord_1",
}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with made(tmp_path / "provider.sqlite") as desk:
        yield desk


class made:  # noqa: N801 - reads as a phrase
    def __init__(self, file: Path, clock: Clock | None = None) -> None:
        self.file, self.clock = file, clock or Clock()

    async def __aenter__(self) -> Desk:
        heard: list[dict[str, Any]] = []
        answers: list[int] = []

        def hear(request: httpx.Request) -> httpx.Response:
            assert request.headers["X-Flywire-Digest"] == sign(request.content, SECRET)
            status = answers.pop(0) if answers else 200
            if status == 0:
                raise httpx.ConnectError("nobody there")
            if status == 200:
                heard.append(json.loads(request.content))
            return httpx.Response(status)

        settings = provider.Settings(
            api_key=SecretStr(KEY), shared_secret=SecretStr(SECRET), file=self.file, url="http://pay.example"
        )
        app = provider.build(settings, http=httpx.AsyncClient(transport=httpx.MockTransport(hear)), clock=self.clock)
        self.sandbox: Sandbox = app.state.sandbox
        transport = httpx.ASGITransport(app=app)
        headers = {"X-Authentication-Key": KEY}
        self.client = httpx.AsyncClient(transport=transport, base_url="http://pay.example", headers=headers)
        self.browser = httpx.AsyncClient(transport=transport, base_url="http://pay.example", follow_redirects=True)
        return Desk(self.client, self.browser, self.sandbox, self.clock, heard, answers)

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.browser.aclose()
        await self.sandbox.close()


async def test_the_address_that_is_printed_has_a_page(desk):
    answer = await desk.browser.get("/")
    assert answer.status_code == 200
    assert "sandbox payment provider" in answer.text


async def test_the_api_needs_its_key(desk):
    for key in ("", "another"):
        answer = await desk.browser.get("/payments/v1/payments", headers={"X-Authentication-Key": key})
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
async def test_a_session_that_makes_no_sense_is_refused_by_name(desk, changes, param):
    answer = await desk.client.post("/payments/v1/checkout/sessions", json=WISH | changes)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["param"] == param


async def test_a_card_payment_lives_as_documented(desk):
    session_id = await desk.open()
    reference = await desk.pay(session_id)
    assert reference.startswith("FWU")
    assert desk.told() == ["initiated", "processed"]
    for _ in range(2):
        await desk.later(1)
    assert desk.told() == ["initiated", "processed", "guaranteed", "delivered"]
    first = desk.heard[0]
    assert first["event_resource"] == "payments"
    assert first["data"]["external_reference"] == "ord_1"
    assert (first["data"]["amount_to"], first["data"]["currency_to"]) == ("109000", "GBP")
    payment = (await desk.client.get(f"/payments/v1/payments/{reference}")).json()
    assert (payment["status"], payment["payment_method"]["type"]) == ("delivered", "card")
    again = await desk.client.post(f"/control/pay/{session_id}")
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
async def test_a_magic_first_name_decides_what_becomes_of_a_payment(desk, name, life):
    await desk.pay(await desk.open(), first_name=name)
    for _ in range(5):
        await desk.later(1)
    assert desk.told() == life


async def test_confirm_has_the_reference_once_the_form_is_complete(desk):
    session_id = await desk.open()
    path = f"/payments/v1/checkout/sessions/{session_id}/confirm"
    assert (await desk.client.post(path)).status_code == 422
    reference = await desk.pay(session_id)
    assert (await desk.client.post(path)).json() == {"payment_reference": reference}


async def test_sessions_expire_by_time_and_by_request(desk):
    timed, asked = await desk.open(), await desk.open()
    assert (await desk.client.post(f"/payments/v1/checkout/sessions/{asked}/expire")).json() == {"status": "expired"}
    await desk.later(3600)
    for session_id in (timed, asked):
        assert (await desk.browser.get(f"/pay/{session_id}")).status_code == 410
        assert (await desk.browser.post(f"/pay/{session_id}", data=FILLED)).status_code == 410
    assert desk.told() == []


async def test_payments_are_listed_in_pages(desk):
    references = []
    for _ in range(3):
        references.append(await desk.pay(await desk.open()))
        await desk.later(10)
    page = (await desk.client.get("/payments/v1/payments?page=2&per_page=2")).json()
    assert [one["payment_id"] for one in page["payments"]] == references[2:]
    since = {"created_from": (desk.clock() - timedelta(seconds=25)).isoformat()}
    some = (await desk.client.get("/payments/v1/payments", params=since)).json()["payments"]
    assert [one["payment_id"] for one in some] == references[1:]
    for bad in ("page=0", "per_page=101", "page=x", "created_from=yesterday"):
        assert (await desk.client.get(f"/payments/v1/payments?{bad}")).status_code == 400


async def test_refunds_follow_flywires_rules(desk):
    reference = await desk.pay(await desk.open())
    path, wish = f"/payments/v1/payments/{reference}/refunds", {"amount": 49500, "external_reference": "r1"}
    wish["notifications_url"] = WISH["notifications_url"]
    early = await desk.client.post(path, json=wish)
    assert (early.status_code, early.json()["title"]) == (422, "invalid_status")
    for _ in range(2):
        await desk.later(1)
    refund = (await desk.client.post(path, json=wish)).json()
    assert (await desk.client.post(path, json=wish)).json()["title"] == "active_refund"
    for _ in range(2):
        await desk.later(0.5)
    assert [event["event_type"] for event in desk.heard if event["event_resource"] == "refunds"] == [
        "initiated",
        "received",
        "finished",
    ]
    assert (await desk.client.get(f"/payments/v1/refunds/{refund['refund_id']}")).json()["status"] == "finished"
    assert (await desk.client.post(path, json=wish | {"amount": 59501})).json()["title"] == "invalid_amount"
    second = (await desk.client.post(path, json=wish | {"amount": 59500})).json()
    assert len((await desk.client.get(path)).json()["refunds"]) == 2
    cancel = f"/payments/v1/refunds/{second['refund_id']}/cancel"
    assert (await desk.client.post(cancel)).json()["status"] == "cancelled"
    assert (await desk.client.post(cancel)).status_code == 422


@pytest.mark.parametrize(("answers", "told"), [([500, 0, 404], ["reversed"]), ([500, 0, 404, 401], [])])
async def test_a_callback_is_tried_three_times_more(desk, answers, told):
    await desk.client.put("/control/callbacks", json={"mode": "drop"})
    reference = await desk.pay(await desk.open())
    await desk.client.put("/control/callbacks", json={"mode": "deliver"})
    desk.answers[:] = answers
    await desk.client.post(f"/control/payments/{reference}/status", json={"status": "reversed"})
    await desk.sandbox.run_due()
    for seconds in (3, 30):
        await desk.later(seconds)
        assert desk.told() == []
    await desk.later(180)
    assert (desk.answers, desk.told()) == ([], told)
    await desk.later(86_400)
    assert (desk.told(), list(desk.sandbox.books.all("delivery"))) == (told, [])


async def test_one_payments_callbacks_go_in_turn_a_copy_at_the_same_time_and_other_payments_beside_it(tmp_path):
    """Sent together they would queue up on the order's lock; a copy is there to come at the same time."""
    async with made(tmp_path / "provider.sqlite") as desk:
        under_way: list[tuple[str, str]] = []
        seen: list[list[tuple[str, str]]] = []

        async def hear(request: httpx.Request) -> httpx.Response:
            event = json.loads(request.content)
            this = (event["data"]["payment_id"], event["event_type"])
            under_way.append(this)
            seen.append(list(under_way))
            await asyncio.sleep(0.02)
            under_way.remove(this)
            return httpx.Response(200)

        await desk.sandbox.http.aclose()
        desk.sandbox.http = httpx.AsyncClient(transport=httpx.MockTransport(hear))
        await desk.client.put("/control/callbacks", json={"copies": 2})
        running = asyncio.create_task(desk.sandbox.run())
        payments = [
            (await desk.client.post(f"/control/pay/{await desk.open()}", json={})).json()["payment_id"] for _ in "12"
        ]
        while desk.sandbox.books.get("payment", payments[1])["status"] != "processed" or len(seen) < 8:  # noqa: ASYNC110 - its books tell nobody
            await asyncio.sleep(0.02)
        running.cancel()
    for payment in payments:
        assert all(len({event for id_, event in moment if id_ == payment}) <= 1 for moment in seen)
    assert any(moment.count(one) == 2 for moment in seen for one in moment)
    assert any(len({id_ for id_, _ in moment}) == 2 for moment in seen)


async def test_callbacks_can_be_lost_doubled_held_and_turned_around(desk):
    async def disturb(**how: Any) -> None:
        (await desk.client.put("/control/callbacks", json=how)).raise_for_status()

    await disturb(mode="drop")
    await desk.pay(await desk.open())
    assert desk.told() == []
    await disturb(copies=2)
    await desk.pay(await desk.open(), first_name="SANDBOX_TO_GUARANTEED_STATUS")
    assert desk.told() == ["initiated", "initiated", "processed", "processed"]
    desk.heard.clear()
    await disturb(mode="hold")
    await desk.pay(await desk.open())
    assert desk.told() == []
    await desk.client.post("/control/callbacks/release", json={"newest_first": True})
    await desk.sandbox.run_due()
    assert desk.told() == ["processed", "initiated"]
    desk.heard.clear()
    await disturb(delay_seconds=60)
    await desk.pay(await desk.open())
    assert desk.told() == []


async def test_a_create_can_time_out_with_or_without_effect(desk):
    for takes_effect, sessions in ((False, 0), (True, 1)):
        await desk.client.post("/control/failures", json={"seconds": 0, "takes_effect": takes_effect})
        assert (await desk.client.post("/payments/v1/checkout/sessions", json=WISH)).status_code == 504
        assert len(list(desk.sandbox.books.all("session"))) == sessions
    await desk.open()


async def test_a_restart_forgets_nothing_and_goes_on(tmp_path):
    file, clock = tmp_path / "provider.sqlite", Clock()
    async with made(file, clock) as desk:
        desk.answers[:] = [0, 0]
        reference = await desk.pay(await desk.open())
        assert desk.told() == []
    async with made(file, clock) as desk:
        for _ in range(3):
            await desk.later(3)
        assert sorted(desk.told()) == ["delivered", "guaranteed", "initiated", "processed"]
        assert (await desk.client.get(f"/payments/v1/payments/{reference}")).json()["status"] == "delivered"


async def test_it_runs_by_itself_when_served(tmp_path):
    heard = asyncio.Queue[str]()

    def hear(request: httpx.Request) -> httpx.Response:
        heard.put_nowait(json.loads(request.content)["event_type"])
        return httpx.Response(200)

    settings = provider.Settings(
        api_key=SecretStr(KEY),
        shared_secret=SecretStr(SECRET),
        guaranteed_after_seconds=0.02,
        delivered_after_seconds=0.02,
    )
    app = provider.build(settings, http=httpx.AsyncClient(transport=httpx.MockTransport(hear)))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client,
    ):
        headers = {"X-Authentication-Key": KEY}
        opened = await client.post("/payments/v1/checkout/sessions", json=WISH, headers=headers)
        await client.post(f"/control/pay/{opened.json()['id']}")
        async with asyncio.timeout(10):
            told = [await heard.get() for _ in range(4)]
    assert sorted(told) == ["delivered", "guaranteed", "initiated", "processed"]


FILLED = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "card_number": "4111 1111 1111 1111",
    "expiry": "12/30",
    "security_code": "123",
    "outcome": "",
    "action": "pay",
}


class Page(HTMLParser):
    """What a screen reader needs of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in tags]


async def test_a_person_pays_and_is_led_back(desk):
    session_id = await desk.open()
    page = await desk.browser.get(f"/pay/{session_id}")
    assert page.status_code == 200
    assert "Pay £1,090.00" in page.text
    assert "Inference &lt;script&gt;" in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    done = await desk.browser.post(f"/pay/{session_id}", data=FILLED)
    assert (done.status_code, done.url.path) == (200, f"/pay/{session_id}/done")
    assert "Payment received" in done.text
    assert 'href="https://learn.example/back?order=1&amp;payment=paid"' in done.text
    await desk.sandbox.run_due()
    assert desk.told() == ["initiated", "processed"]
    assert (await desk.browser.get(f"/pay/{session_id}")).url.path.endswith("/done")
    assert (await desk.browser.post(f"/pay/{session_id}", data=FILLED)).url.path.endswith("/done")
    assert len(list(desk.sandbox.books.all("payment"))) == 1


async def test_a_card_that_is_declined_is_declined_before_the_payers_eyes(desk):
    session_id = await desk.open()
    page = await desk.browser.post(f"/pay/{session_id}", data=FILLED | {"outcome": "SANDBOX_TO_CANCEL_STATUS"})
    assert "The payment was declined" in page.text
    assert "Payment received" not in page.text
    assert 'href="https://learn.example/back?order=1&amp;payment=declined"' in page.text
    await desk.sandbox.run_due()
    assert desk.told() == ["initiated", "cancelled"]


async def test_a_card_may_be_declined_and_charged_after_all(desk):
    session_id = await desk.open()
    outcome = {"outcome": "SANDBOX_CANCELLED_BACK_TO_PROCESS_STATUS"}
    page = await desk.browser.post(f"/pay/{session_id}", data=FILLED | outcome)
    assert "payment=declined" in page.text
    for _ in range(4):
        await desk.later(1)
    assert desk.told() == ["initiated", "cancelled", "initiated", "processed", "guaranteed", "delivered"]


async def test_a_bank_transfer_is_on_its_way_until_the_money_is_there(desk):
    session_id = await desk.open()
    await desk.pay(session_id, method="bank_transfer")
    page = await desk.browser.get(f"/pay/{session_id}/done")
    assert "Your payment is on its way" in page.text
    assert "payment=pending" in page.text
    await desk.later(1)
    assert "payment=paid" in (await desk.browser.get(f"/pay/{session_id}/done")).text


async def test_what_has_ended_of_a_refund_goes_on_only_as_the_provider_may(desk):
    reference = await desk.pay(await desk.open())
    for _ in range(2):
        await desk.later(1)
    wish = {"amount": 100, "external_reference": "r1", "notifications_url": WISH["notifications_url"]}
    refund = (await desk.client.post(f"/payments/v1/payments/{reference}/refunds", json=wish)).json()
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
        assert (await desk.client.post(path, json={"status": status})).status_code == code, status


async def test_a_person_cancels_and_may_still_pay(desk):
    session_id = await desk.open()
    page = await desk.browser.post(f"/pay/{session_id}", data={"action": "cancel"})
    assert "You cancelled the payment" in page.text
    assert "payment=cancelled" in page.text
    assert (await desk.browser.get(f"/pay/{session_id}")).status_code == 200
    assert desk.told() == []


async def test_every_field_has_its_label_and_every_mistake_its_words(desk):
    session_id = await desk.open()
    wrong = {**FILLED, "first_name": "", "card_number": "12", "expiry": "13/30", "security_code": "x"}
    answer = await desk.browser.post(f"/pay/{session_id}", data=wrong)
    assert answer.status_code == 422
    page = Page(answer.text)
    labels = {label["for"] for label in page.all("label")}
    ids = {attributes.get("id") for _, attributes in page.tags}
    fields = page.all("input", "select")
    assert {one["id"] for one in fields} == labels
    for one in fields:
        assert set((one.get("aria-describedby") or "").split()) <= ids
    assert {one["id"] for one in fields if one.get("aria-invalid")} == {
        "first_name",
        "card_number",
        "expiry",
        "security_code",
    }
    assert {link["href"] for link in page.all("a")} == {"#first_name", "#card_number", "#expiry", "#security_code"}
    assert page.all("html")[0]["lang"] == "en-GB"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert desk.told() == []


async def test_a_return_address_that_is_no_web_address_is_no_link(desk):
    session_id = await desk.open(options={"form": {"return_url": "javascript:alert(1)"}})
    page = await desk.browser.post(f"/pay/{session_id}", data={"action": "cancel"})
    assert "javascript" not in page.text


async def test_a_pay_page_that_does_not_exist(desk):
    for path in ("/pay/nothing", "/pay/nothing/done"):
        answer = await desk.browser.get(path)
        assert (answer.status_code, "does not exist" in answer.text) == (404, True)
