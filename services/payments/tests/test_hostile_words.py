"""Signed callbacks that no database, index or calendar can hold: finance sees them, and the provider is asked."""

import json
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import select

from payments.jobs import submit_refunds
from payments.tables import Payment


def notification(reference, **changes):
    data = {
        "payment_id": reference,
        "status": "processed",
        "amount_to": 49500,
        "currency_to": "GBP",
        "external_reference": "x",
        "payment_method": {"type": "card"},
        "reason_code": "",
    }
    date = changes.pop("event_date", "2026-11-02T10:15:00Z")
    return {"event_type": "x", "event_date": date, "event_resource": "payments", "data": data | changes}


HOSTILE = {
    "nul in a reason": {"reason_code": "a\0b"},
    "nul in a reference": {"external_reference": "a\0b"},
    "nul in a status": {"status": "a\0b"},
    "nul in a currency": {"currency_to": "\0\0\0"},
    "nul in a method": {"payment_method": {"type": "a\0"}},
    "a long status": {"status": "a" * 9000},
    "a long reference": {"external_reference": "x" * 60000},
    "a huge amount": {"amount_to": 10**19},
    "the last day": {"event_date": "9999-12-31T23:59:59-14:00"},
    "the first day": {"event_date": "0001-01-01T00:00:00+14:00"},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
async def test_what_cannot_be_held_is_dead_lettered_and_the_provider_asked(driver, changes):
    _, reference = await driver.buy(await driver.sell())
    for subject, outcome in ((reference, "asking"), ("STRANGE1", "not_understood")):
        answer = await driver.callback(json.dumps(notification(subject, **changes)).encode())
        assert (answer.status_code, answer.json()["outcome"]) == (200, outcome)
    assert "not_understood" in await driver.unmatched()
    asked = await driver.session.scalar(select(Payment.ask_at).where(Payment.reference == reference))
    assert asked == driver.clock()


async def test_a_redirect_is_no_refusal(driver, monkeypatch):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    stream = driver.provider._http.stream

    @asynccontextmanager
    async def moved(method, path, **options):
        if method == "POST" and path.endswith("/refunds"):
            to = {"Location": "https://maintenance.example/"}
            yield httpx.Response(302, headers=to, request=httpx.Request(method, f"http://provider{path}"))
            return
        async with stream(method, path, **options) as answer:
            yield answer

    with monkeypatch.context() as patch:
        patch.setattr(driver.provider._http, "stream", moved)
        await driver.run(submit_refunds)
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "submitting"
    await driver.later(minutes=2)
    await driver.run(submit_refunds)
    # What stands in front of the provider says nothing of what the provider has done.
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "submitting"
    assert driver.sandbox.refunds(reference) == []
