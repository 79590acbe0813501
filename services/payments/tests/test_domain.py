"""The rules, without a database."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from payments.adapters.flywire import AT_ONCE, DIGEST_HEADER, Flywire, FlywireAccount, sign
from payments.adapters.provider import Unreadable
from payments.domain import ledger, orders
from payments.domain.addresses import Addresses
from payments.domain.ledger import Account
from payments.domain.orders import Offer, Quoted
from payments.domain.payments import (
    FUNDED,
    BadSignature,
    PaymentFact,
    ProviderStatus,
    Standing,
    State,
    Use,
    Verdict,
    judge,
    state_of,
    use_of,
)
from payments.domain.policy import policy_at
from payments.domain.refunds import ProviderRefundStatus, RefundFact, RefundStatus, cooling_off_ends, status_of
from shared.ids import new_id
from shared.regulations import UnknownRegulations

AT = datetime(2026, 11, 2, 10, 15, tzinfo=UTC)
POLICY = policy_at(AT)
P = ProviderStatus
VECTOR = Path(__file__).with_name("vector.json").read_bytes()
"""The published test vector, exactly."""


def flywire(*secrets: str) -> Flywire:
    return Flywire(FlywireAccount("http://provider", "key", secrets, "FWU", "order_reference", "http://us", 5))


SIGNED_WITH_S = flywire("s")


def fact(status: P, at: datetime = AT, **changes: object) -> PaymentFact:
    values = {
        "reference": "FWU1",
        "status": status,
        "at": at,
        "amount_minor": 49500,
        "currency": "GBP",
        "external_reference": "ord_1",
        "method": "card",
        "reason_code": "",
    }
    return PaymentFact(**(values | changes))  # type: ignore[arg-type]


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
            VECTOR.replace(b'"guaranteed","amount_to"', b'"on holiday","amount_to"'),
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
    waits = []

    async def sleep(seconds):
        waits.append(round(seconds))

    monkeypatch.setattr("payments.adapters.flywire.asyncio.sleep", sleep)
    account = FlywireAccount("http://provider", "key", ["s"], "FWU", "f", "http://us", 5, calls_per_minute=2)
    provider = Flywire(account)
    for _ in range(5):
        await provider._take_turn()
    assert waits == [0, 0, 60, 60, 120]


class TestJudging:
    def last(self, status: P, at: datetime = AT) -> Standing:
        return Standing(status, at)

    def test_the_first_fact_is_applied(self):
        assert all(judge(None, fact(status), fetched=False) is Verdict.APPLY for status in P)

    def test_the_documented_flows_need_no_question(self):
        later = AT + timedelta(minutes=1)
        for before, after in (
            (P.INITIATED, P.PROCESSED),
            (P.PROCESSED, P.GUARANTEED),
            (P.GUARANTEED, P.DELIVERED),
            (P.INITIATED, P.CANCELLED),
            (P.CANCELLED, P.INITIATED),
            (P.CANCELLED, P.PROCESSED),
            (P.PROCESSED, P.CANCELLED),
            (P.DELIVERED, P.REVERSED),
        ):
            assert judge(self.last(before), fact(after, later), fetched=False) is Verdict.APPLY, (before, after)

    def test_two_steps_in_one_instant_are_told_apart_by_rank(self):
        assert judge(self.last(P.INITIATED), fact(P.PROCESSED), fetched=False) is Verdict.APPLY
        assert judge(self.last(P.PROCESSED), fact(P.INITIATED), fetched=False) is Verdict.ASK

    def test_an_older_fact_is_a_question(self):
        assert judge(self.last(P.CANCELLED), fact(P.PROCESSED, AT - timedelta(hours=2)), fetched=False) is Verdict.ASK

    def test_a_contradiction_is_a_question(self):
        later = AT + timedelta(minutes=1)
        assert judge(self.last(P.GUARANTEED), fact(P.CANCELLED, later), fetched=False) is Verdict.ASK
        assert judge(self.last(P.FAILED), fact(P.PROCESSED, later), fetched=False) is Verdict.ASK
        assert judge(self.last(P.REVERSED), fact(P.GUARANTEED, later), fetched=False) is Verdict.ASK

    def test_after_delivered_only_a_reversal_counts(self):
        for status, fetched in product(set(P) - {P.DELIVERED, P.REVERSED}, (True, False)):
            assert judge(self.last(P.DELIVERED), fact(status, AT + timedelta(1)), fetched=fetched) is Verdict.IGNORE

    @given(st.sampled_from(P), st.sampled_from(P), st.booleans(), st.integers(-5, 5))
    def test_the_same_status_never_has_an_effect(self, before, after, fetched, minutes):
        verdict = judge(self.last(before), fact(after, AT + timedelta(minutes=minutes)), fetched=fetched)
        assert (verdict is Verdict.KNOWN) == (before is after)
        assert verdict is not Verdict.ASK or not fetched


class TestStates:
    def test_a_card_is_confirmed_when_processed_and_a_transfer_when_guaranteed(self):
        assert state_of(P.PROCESSED, "card", None, POLICY) is State.CONFIRMED
        assert state_of(P.PROCESSED, "bank_transfer", None, POLICY) is State.CAPTURING
        assert state_of(P.GUARANTEED, "bank_transfer", State.CAPTURING, POLICY) is State.CONFIRMED

    def test_what_dies_before_it_is_confirmed_was_an_attempt_and_after_it_is_lost(self):
        for status in (P.CANCELLED, P.FAILED):
            assert state_of(status, "card", State.AWAITING_FUNDS, POLICY) is State.FAILED_ATTEMPT
            assert state_of(status, "bank_transfer", State.CAPTURING, POLICY) is State.FAILED_ATTEMPT
            assert state_of(status, "card", State.CONFIRMED, POLICY) is State.LOST

    @given(st.sampled_from(P), st.sampled_from(["card", "bank_transfer"]), st.sampled_from([None, *State]))
    def test_confirmed_money_is_lost_or_kept_but_never_quietly_becomes_an_attempt(self, status, method, before):
        after = state_of(status, method, before, POLICY)
        if before in FUNDED:
            assert after in FUNDED or after is State.LOST


class TestUse:
    @given(st.integers(0, 10**6), st.integers(1, 10**6), st.tuples(*[st.booleans()] * 4))
    def test_access_is_given_only_for_enough_of_the_right_money_once(self, received, due, so):
        same, confirmed, open_, sellable = so
        use = use_of(
            received_minor=received,
            due_minor=due,
            same_currency=same,
            confirmed=confirmed,
            open_=open_,
            sellable=sellable,
        )
        good = received >= due and same and not confirmed and (open_ or sellable)
        assert (use is Use.ORDER) == good


class TestCoolingOff:
    def test_it_ends_with_day_14_in_london(self):
        bought = datetime(2026, 11, 1, 10, tzinfo=UTC)
        ends = cooling_off_ends(bought, None, POLICY)
        assert ends == datetime(2026, 11, 16, tzinfo=UTC)
        assert datetime(2026, 11, 15, 23, 59, tzinfo=UTC) < ends

    def test_the_later_of_contract_and_access_counts(self):
        bought, access = datetime(2026, 11, 1, 10, tzinfo=UTC), datetime(2026, 11, 3, 9, tzinfo=UTC)
        assert cooling_off_ends(bought, access, POLICY) == datetime(2026, 11, 18, tzinfo=UTC)
        assert cooling_off_ends(access, bought, POLICY) == datetime(2026, 11, 18, tzinfo=UTC)

    def test_days_are_londons_across_the_change_of_clocks(self):
        late = datetime(2026, 10, 13, 23, 30, tzinfo=UTC)  # 14 October 00:30 in London
        assert cooling_off_ends(late, None, POLICY) == datetime(2026, 10, 29, tzinfo=UTC)
        summer = datetime(2026, 7, 1, 12, tzinfo=UTC)
        assert cooling_off_ends(summer, None, POLICY) == datetime(2026, 7, 15, 23, tzinfo=UTC)


class TestQuotes:
    line = Quoted(new_id(), new_id(), 49500, 0)

    def offer(self, amount: int) -> dict[UUID, Offer]:
        return {self.line.course_id: Offer(self.line.course_id, new_id(), "Inference", "DS01", amount, "GBP")}

    def test_an_unchanged_price_is_simply_renewed(self):
        assert orders.requote([self.line], self.offer(49500), None, "GBP") == {self.line.order_line_id: 49500}

    @pytest.mark.parametrize("accepted", [None, 49500, 59499])
    def test_a_changed_price_names_both(self, accepted):
        with pytest.raises(orders.PriceChanged) as refused:
            orders.requote([self.line], self.offer(59500), accepted, "GBP")
        assert refused.value.extras["quoted"] == {"amount_minor": 49500, "currency": "GBP"}
        assert refused.value.extras["current"] == {"amount_minor": 59500, "currency": "GBP"}

    def test_a_changed_price_that_was_accepted_holds(self):
        assert orders.requote([self.line], self.offer(59500), 59500, "GBP") == {self.line.order_line_id: 59500}

    def test_prices_that_change_in_opposite_directions_are_told_although_the_total_stays(self):
        other = Quoted(new_id(), new_id(), 59500, 0)
        offers = self.offer(59500) | {other.course_id: Offer(other.course_id, new_id(), "b", "b", 49500, "GBP")}
        with pytest.raises(orders.PriceChanged):
            orders.requote([self.line, other], offers, None, "GBP")


class TestBooks:
    amounts = st.integers(1, 10**9)

    @given(amounts, amounts)
    def test_every_posting_adds_up_to_nothing(self, received, due):
        for entries in (
            ledger.sold(received, due),
            ledger.held(received),
            ledger.owed_back(received),
            ledger.settled(received),
            ledger.refund_requested(received, Account.SALES),
            ledger.refunded(received),
            ledger.opposite(ledger.sold(received, due)),
        ):
            assert sum(entries.values()) == 0

    @given(st.integers(0, 1000), st.integers(0, 1000), st.booleans())
    def test_a_loss_undoes_what_is_left_and_counts_what_was_refunded_as_lost(self, kept, refunded, paid_out):
        lost = ledger.lost({Account.SALES: -kept}, kept + refunded, paid_out=paid_out)
        assert sum(lost.values()) == 0
        assert lost[Account.LOSSES] == refunded
        assert lost[Account.CASH if paid_out else Account.PROVIDER] == -(kept + refunded)


def test_a_refund_the_bank_sends_back_after_it_was_finished_is_failed():
    assert status_of(ProviderRefundStatus.RECEIVED, RefundStatus.COMPLETED) is RefundStatus.FAILED
    assert status_of(ProviderRefundStatus.RECEIVED, RefundStatus.SUBMITTED) is RefundStatus.SUBMITTED


def test_the_regulations_in_force_are_the_latest_begun():
    assert policy_at(datetime(2026, 8, 31, 23, 59, tzinfo=UTC)).version == "mc-regs-2026.1"
    assert policy_at(datetime(2026, 9, 1, tzinfo=UTC)).version == "mc-regs-2026.2"
    with pytest.raises(UnknownRegulations):
        policy_at(datetime(2025, 12, 31, tzinfo=UTC))


def test_the_provider_is_asked_at_2_5_15_and_60_minutes_and_then_hourly():
    times, now = [], AT
    for _ in range(6):
        now = POLICY.next_question(AT, now)
        times.append((now - AT) / timedelta(minutes=1))
    assert times == [2, 5, 15, 60, 120, 180]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://learn.example.evil.example/",
        "https://learn.example@evil.example/",
        "https://learn.example:444/",
        "http://learn.example/",
        "javascript:alert(1)",
        "//learn.example/",
        "https:\\\\learn.example\\",
        "https://learn.example:99999/",
        "",
    ],
)
def test_a_payer_is_sent_back_only_where_it_is_allowed(url):
    places = Addresses("http://localhost:8000", ["https://learn.example"])
    assert places.return_url("https://learn.example/done?x=1", new_id()) == "https://learn.example/done?x=1"
    assert places.return_url("http://localhost:8000/done", new_id()) == "http://localhost:8000/done"
    with pytest.raises(orders.ReturnUrlNotAllowed):
        places.return_url(url, new_id())


def test_receipt_numbers_carry_londons_year():
    assert orders.receipt_number(7, datetime(2026, 12, 31, 23, 30, tzinfo=UTC), POLICY) == "MC-2026-000007"
    summer_new_year = datetime(2026, 7, 1, tzinfo=UTC)
    assert orders.receipt_number(1234567, summer_new_year, POLICY) == "MC-2026-1234567"
