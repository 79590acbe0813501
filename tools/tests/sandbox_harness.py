"""The sandbox payment provider at a test's hand, and what it notified the platform of."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
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
class SandboxHarness:
    """A sandbox, a client with the key, and what it notified the platform of."""

    client: httpx.AsyncClient
    browser: httpx.AsyncClient
    sandbox: Sandbox
    clock: Clock
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses with which the platform answers the next callbacks; 200 after that."""

    async def open(self, **changes: Any) -> str:
        answer = await self.client.post("/payments/v1/checkout/sessions", json=BODY | changes)
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

    def notified(self) -> list[str]:
        return [event["event_type"] for event in self.callbacks]


BODY = {
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


FILLED = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "card_number": "4111 1111 1111 1111",
    "expiry": "12/30",
    "security_code": "123",
    "outcome": "",
    "action": "pay",
}
"""The form of the pay page."""


class made:  # noqa: N801 - reads as a phrase
    def __init__(self, file: Path, clock: Clock | None = None) -> None:
        self.file, self.clock = file, clock or Clock()

    async def __aenter__(self) -> SandboxHarness:
        callbacks: list[dict[str, Any]] = []
        answers: list[int] = []

        def consume(request: httpx.Request) -> httpx.Response:
            assert request.headers["X-Flywire-Digest"] == sign(request.content, SECRET)
            status = answers.pop(0) if answers else 200
            if status == 0:
                raise httpx.ConnectError("nobody there")
            if status == 200:
                callbacks.append(json.loads(request.content))
            return httpx.Response(status)

        settings = provider.Settings(
            api_key=SecretStr(KEY), shared_secret=SecretStr(SECRET), file=self.file, url="http://pay.example"
        )
        app = provider.build(settings, http=httpx.AsyncClient(transport=httpx.MockTransport(consume)), clock=self.clock)
        self.sandbox: Sandbox = app.state.sandbox
        transport = httpx.ASGITransport(app=app)
        headers = {"X-Authentication-Key": KEY}
        self.client = httpx.AsyncClient(transport=transport, base_url="http://pay.example", headers=headers)
        self.browser = httpx.AsyncClient(transport=transport, base_url="http://pay.example", follow_redirects=True)
        return SandboxHarness(self.client, self.browser, self.sandbox, self.clock, callbacks, answers)

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.browser.aclose()
        await self.sandbox.close()
