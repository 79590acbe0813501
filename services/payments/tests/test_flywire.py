"""Flywire as its client speaks it: signatures, its words read, and no more calls than it allows."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from payments.adapters.flywire import AT_ONCE, DIGEST_HEADER, Flywire, FlywireAccount, sign
from payments.adapters.provider import Unreadable
from payments.domain.payments import (
    BadSignature,
    PaymentFact,
    ProviderStatus,
)
from payments.domain.refunds import (
    ProviderRefundStatus,
    RefundFact,
)

AT = datetime(2026, 11, 2, 10, 15, tzinfo=UTC)
P = ProviderStatus


VECTOR = Path(__file__).with_name("vector.json").read_bytes()
"""The published test vector, exactly."""


def flywire(*secrets: str) -> Flywire:
    return Flywire(FlywireAccount("http://provider", "key", secrets, "FWU", "order_reference", "http://us", 5))


SIGNED_WITH_S = flywire("s")


class TestSignature:
    def test_the_digest_of_the_published_vector(self):
        assert len(VECTOR) == 242
        assert sign(VECTOR, b"shared-secret-for-tests") == b"mcYDy5dHfwIctPdSMCmkkDnTGVOWunXb3zYBqN7Ix0U="

    def test_the_vector_is_understood(self):
        headers = Headers({DIGEST_HEADER.lower(): "mcYDy5dHfwIctPdSMCmkkDnTGVOWunXb3zYBqN7Ix0U="})
        said = flywire("shared-secret-for-tests").parse_notification(headers, VECTOR)
        assert said == PaymentFact(
            "UOL123456789", P.GUARANTEED, AT, 49500, "GBP", "ord_01JBZ0000000000000000000", "unknown", ""
        )

    def test_each_active_secret_may_sign_and_no_other(self):
        provider = flywire("new", "old")
        for secret in (b"new", b"old"):
            assert isinstance(
                provider.parse_notification({DIGEST_HEADER: sign(VECTOR, secret).decode()}, VECTOR), PaymentFact
            )
        with pytest.raises(BadSignature):
            provider.parse_notification({DIGEST_HEADER: sign(VECTOR, b"demo").decode()}, VECTOR)

    @pytest.mark.parametrize("digest", ["", "x", "mcYDy5dHfwIctPdSMCmkkDnTGVOWunXb3zYBqN7Ix0", "é", "A" * 10_000])
    def test_anything_else_for_a_digest_is_refused(self, digest):
        with pytest.raises(BadSignature):
            flywire("shared-secret-for-tests").parse_notification({DIGEST_HEADER: digest}, VECTOR)

    def test_no_digest_at_all_is_refused(self):
        with pytest.raises(BadSignature):
            flywire("shared-secret-for-tests").parse_notification({}, VECTOR)

    @given(st.integers(0, len(VECTOR) - 1), st.integers(1, 255))
    def test_one_changed_byte_is_refused(self, place, change):
        body = bytearray(VECTOR)
        body[place] ^= change
        with pytest.raises(BadSignature):
            SIGNED_WITH_S.parse_notification({DIGEST_HEADER: sign(VECTOR, b"s").decode()}, bytes(body))

    @pytest.mark.parametrize(
        "body",
        [
            b"not json",
            b"[]",
            VECTOR.replace(b'"49500"', b'"495.00"'),
            VECTOR.replace(b'"49500"', b'"-1"'),
            VECTOR.replace(b'"49500"', b"49500.0"),
            VECTOR.replace(b'"49500"', b"true"),
            VECTOR.replace(b'"49500"', b'" 49500"'),
            VECTOR.replace(b"UOL123456789", b"../../refunds"),
            VECTOR.replace(b"2026-11-02T10:15:00Z", b"2026-11-02T10:15:00"),
        ],
    )
    def test_a_signed_body_we_do_not_understand_says_so(self, body):
        said = flywire("s").parse_notification({DIGEST_HEADER: sign(body, b"s").decode()}, body)
        assert isinstance(said, Unreadable)

    @pytest.mark.parametrize("status", [b'"on holiday"', b"null", b'""'])
    def test_a_status_we_do_not_know_is_reported_with_its_reference(self, status):
        body = VECTOR.replace(b'"guaranteed","amount_to"', status + b',"amount_to"')
        said = flywire("s").parse_notification({DIGEST_HEADER: sign(body, b"s").decode()}, body)
        assert isinstance(said, PaymentFact)
        assert (said.status, said.reference) == (P.UNKNOWN, "UOL123456789")

    def test_null_in_an_optional_field_is_as_good_as_none(self):
        data = json.loads(VECTOR)
        data["data"] |= {"payment_method": None, "external_reference": None, "reason_code": None}
        body = json.dumps(data).encode()
        said = flywire("s").parse_notification({DIGEST_HEADER: sign(body, b"s").decode()}, body)
        assert isinstance(said, PaymentFact)
        assert (said.status, said.method, said.our_reference) == (P.GUARANTEED, "unknown", "")

    def test_what_cannot_be_read_names_the_payment_it_is_about(self):
        body = VECTOR.replace(b'"49500"', b'"495.00"')
        said = flywire("s").parse_notification({DIGEST_HEADER: sign(body, b"s").decode()}, body)
        assert isinstance(said, Unreadable)
        assert (said.reference, said.our_reference) == ("UOL123456789", "ord_01JBZ0000000000000000000")

    def test_a_refund_callback(self):
        body = (
            b'{"event_type":"finished","event_date":"2026-11-02T10:15:00Z","event_resource":"refunds","data":'
            b'{"refund_id":"RF1","payment_id":"FWU1","status":"finished","amount":49500,"external_reference":"r"}}'
        )
        said = flywire("s").parse_notification({DIGEST_HEADER: sign(body, b"s").decode()}, body)
        assert said == RefundFact("RF1", "FWU1", ProviderRefundStatus.FINISHED, AT, 49500, "r")


async def test_no_more_calls_are_under_way_than_the_client_can_carry():
    under_way, most = 0, 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return httpx.Response(
            200, json={"payment_id": "P1", "status": "guaranteed", "amount_to": 49500, "currency_to": "GBP"}
        )

    account = FlywireAccount("http://provider", "key", ["s"], "FWU", "f", "http://us", 5)
    provider = Flywire(account, transport=lambda: httpx.MockTransport(answer))
    await asyncio.gather(*(provider.fetch_payment("P1") for _ in range(5 * AT_ONCE)))
    await provider.aclose()
    assert most == AT_ONCE


async def test_calls_beyond_the_allowance_wait_for_their_minute(monkeypatch):
    at = 1000.0

    async def sleep(seconds):
        nonlocal at
        at += seconds

    monkeypatch.setattr("payments.adapters.flywire.asyncio.sleep", sleep)
    monkeypatch.setattr("payments.adapters.flywire.monotonic", lambda: at)
    account = FlywireAccount("http://provider", "key", ["s"], "FWU", "f", "http://us", 5, calls_per_minute=2)
    provider, turns = Flywire(account), []
    for _ in range(5):
        await provider._wait_for_slot(urgent=True)
        turns.append(at - 1000)
    assert turns == [0, 0, 60, 60, 120]


async def test_a_payer_at_the_till_does_not_wait_behind_questions_asked_in_the_background():
    account = FlywireAccount("http://provider", "key", ["s"], "FWU", "f", "http://us", 5, calls_per_minute=8)
    provider = Flywire(account)
    background = [asyncio.create_task(provider._wait_for_slot(urgent=False)) for _ in range(50)]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        for _ in range(2):
            await provider._wait_for_slot(urgent=True)
    assert sum(task.done() for task in background) == 6
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
