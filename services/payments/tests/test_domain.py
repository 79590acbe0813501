"""The rules, without a database."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.adapters.flywire_shapes import payment_status, refund_status
from payments.domain import ledger, orders
from payments.domain.ledger import Account
from payments.domain.orders import Offer, Quoted
from payments.domain.payments import (
    FUNDED,
    AppliedFact,
    PaymentFact,
    ProviderStatus,
    State,
    Use,
    Verdict,
    judge,
    state_of,
    use_of,
)
from payments.domain.policy import policy_at
from payments.domain.public_urls import PublicUrls
from payments.domain.refunds import (
    LastReported,
    RefundFact,
    RefundStatus,
    cooling_off_ends,
    status_of,
)
from payments.domain.refunds import ProviderRefundStatus as R
from payments.domain.refunds import Verdict as RefundVerdict
from payments.domain.refunds import judge as judge_refund
from shared.digests import Digests
from shared.ids import new_id
from shared.regulations import UnknownRegulations

AT = datetime(2026, 11, 2, 10, 15, tzinfo=UTC)
POLICY = policy_at(AT)
P = ProviderStatus


def fact(status: P, at: datetime = AT, **changes: Any) -> PaymentFact:
    values: dict[str, Any] = {
        "reference": "FWU1",
        "status": status,
        "at": at,
        "amount_minor": 49500,
        "currency": "GBP",
        "our_reference": "ord_1",
        "method": "card",
        "reason_code": "",
    }
    return PaymentFact(**(values | changes))


class TestStatuses:
    def test_each_of_ours_but_unknown_is_one_of_flywires(self):
        assert {payment_status(one) for one in P} == set(P)
        assert {refund_status(one) for one in R} == set(R)

    @pytest.mark.parametrize("word", ["", "unknown", "Delivered", "delivered ", "on_hold"])
    def test_a_word_of_flywires_that_we_do_not_know_is_unknown(self, word):
        assert (payment_status(word), refund_status(word)) == (P.UNKNOWN, R.UNKNOWN)


class TestJudging:
    def last(self, status: P, at: datetime = AT) -> AppliedFact:
        return AppliedFact(status, at, 49500, "GBP", "card")

    def judged(self, last: P, said, *, fetched: bool) -> Verdict:
        return judge(self.last(last), said, fetched=fetched, patience=timedelta(hours=1))

    def test_the_first_fact_is_applied(self):
        for status in P:
            assert judge(None, fact(status), fetched=False, patience=timedelta(hours=1)) is Verdict.APPLY

    def test_an_answer_that_cannot_follow_is_believed_only_when_no_copy_lags_so_far_behind(self):
        for before, after in ((P.GUARANTEED, P.INITIATED), (P.PROCESSED, P.INITIATED), (P.REVERSED, P.GUARANTEED)):
            assert self.judged(before, fact(after, AT + timedelta(minutes=59)), fetched=True) is Verdict.DOUBT
            assert self.judged(before, fact(after, AT + timedelta(minutes=61)), fetched=True) is Verdict.APPLY
        for before, after in ((P.INITIATED, P.GUARANTEED), (P.CANCELLED, P.DELIVERED), (P.INITIATED, P.REVERSED)):
            assert self.judged(before, fact(after), fetched=True) is Verdict.APPLY

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
            assert self.judged(before, fact(after, later), fetched=False) is Verdict.APPLY, (before, after)

    def test_two_steps_in_one_instant_are_distinguished_by_rank(self):
        assert self.judged(P.INITIATED, fact(P.PROCESSED), fetched=False) is Verdict.APPLY
        assert self.judged(P.PROCESSED, fact(P.INITIATED), fetched=False) is Verdict.ASK

    def test_an_older_fact_is_a_question(self):
        assert self.judged(P.CANCELLED, fact(P.PROCESSED, AT - timedelta(hours=2)), fetched=False) is Verdict.ASK

    def test_a_contradiction_is_a_question(self):
        later = AT + timedelta(minutes=1)
        assert self.judged(P.GUARANTEED, fact(P.CANCELLED, later), fetched=False) is Verdict.ASK
        assert self.judged(P.FAILED, fact(P.PROCESSED, later), fetched=False) is Verdict.ASK
        assert self.judged(P.REVERSED, fact(P.GUARANTEED, later), fetched=False) is Verdict.ASK

    def test_after_delivered_only_a_reversal_counts(self):
        for status, fetched in product(set(P) - {P.DELIVERED, P.REVERSED, P.UNKNOWN}, (True, False)):
            assert self.judged(P.DELIVERED, fact(status, AT + timedelta(1)), fetched=fetched) is Verdict.IGNORE

    @given(st.sampled_from(P), st.sampled_from(P), st.booleans(), st.integers(-5, 5))
    def test_the_same_status_never_has_an_effect(self, before, after, fetched, minutes):
        verdict = self.judged(before, fact(after, AT + timedelta(minutes=minutes)), fetched=fetched)
        assert (verdict is Verdict.KNOWN) == (before is after is not P.UNKNOWN)
        assert (verdict is Verdict.UNCLEAR) == (after is P.UNKNOWN)
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
        if before in FUNDED or before is State.LOST:
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
        with pytest.raises(orders.PriceNotAccepted) as refused:
            orders.requote([self.line], self.offer(59500), accepted, "GBP")
        assert refused.value.extras["quoted"] == {"amount_minor": 49500, "currency": "GBP"}
        assert refused.value.extras["current"] == {"amount_minor": 59500, "currency": "GBP"}

    def test_a_changed_price_that_was_accepted_holds(self):
        assert orders.requote([self.line], self.offer(59500), 59500, "GBP") == {self.line.order_line_id: 59500}

    def test_prices_that_change_in_opposite_directions_are_stated_although_the_total_stays(self):
        other = Quoted(new_id(), new_id(), 59500, 0)
        offers = self.offer(59500) | {other.course_id: Offer(other.course_id, new_id(), "b", "b", 49500, "GBP")}
        with pytest.raises(orders.PriceNotAccepted):
            orders.requote([self.line, other], offers, None, "GBP")


class TestBooks:
    amounts = st.integers(0, 10**9)

    @given(amounts, amounts, amounts, amounts, amounts, st.booleans())
    def test_they_add_up_to_nothing_and_hold_what_the_provider_holds(
        self, received, sold, owed, given_back, paid_out, settled
    ):
        books = ledger.books(ledger.PaymentPosition(received, settled, sold, owed, given_back, paid_out))
        assert sum(books.values()) == 0
        assert books.get(Account.CASH, 0) + books.get(Account.PROVIDER, 0) == received - paid_out
        posted = ledger.difference(books, {})
        assert sum(posted.values()) == 0
        assert ledger.difference(books, posted) == {}

    @given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 1000))
    def test_of_lost_money_what_was_paid_back_or_may_still_be_is_a_loss(self, received, paid_out, owed):
        lost = ledger.books(
            ledger.PaymentPosition(0, settled=False, sold=0, owed=owed, given_back=paid_out, paid_out=paid_out)
        )
        assert lost.get(Account.LOSSES, 0) == paid_out + owed
        assert not lost.get(Account.SALES)
        assert not lost.get(Account.UNAPPLIED)

    def test_a_line_paid_back_twice_is_a_loss_of_once(self):
        twice = ledger.PaymentPosition(49500, settled=True, sold=0, owed=0, given_back=49500, paid_out=99000)
        assert ledger.difference(ledger.books(twice), {}) == {Account.CASH: -49500, Account.LOSSES: 49500}


class TestRefunds:
    def on_record(self, status, at=AT):
        return LastReported(status, at, 49500, "GBP")

    def said(self, status, at=AT):
        return RefundFact("RF1", "P1", status, at, 49500, "")

    def judged(self, last, status, at=AT, *, fetched=False):
        return judge_refund(self.on_record(last), self.said(status, at), fetched=fetched, patience=timedelta(hours=1))

    def test_a_lagging_answer_undoes_nothing(self):
        for status in (R.INITIATED, R.RECEIVED):
            assert self.judged(R.FINISHED, status, fetched=True) is RefundVerdict.DOUBT
        assert self.judged(R.RECEIVED, R.INITIATED, fetched=True) is RefundVerdict.DOUBT
        assert self.judged(R.FINISHED, R.RECEIVED, AT + timedelta(hours=2), fetched=True) is RefundVerdict.APPLY

    def test_an_answer_that_may_follow_is_applied_whatever_its_date(self):
        assert self.judged(R.FINISHED, R.RETURNED, AT - timedelta(hours=1), fetched=True) is RefundVerdict.APPLY
        assert self.judged(R.RETURNED, R.RECEIVED, fetched=True) is RefundVerdict.APPLY
        assert self.judged(R.RETURNED, R.FINISHED, fetched=True) is RefundVerdict.DOUBT

    def test_a_callback_of_the_same_instant_is_a_question(self):
        assert self.judged(R.FINISHED, R.RECEIVED) is RefundVerdict.ASK
        assert self.judged(R.INITIATED, R.RECEIVED, AT + timedelta(seconds=1)) is RefundVerdict.APPLY
        assert self.judged(R.CANCELLED, R.RECEIVED, AT + timedelta(seconds=1)) is RefundVerdict.ASK

    def test_what_goes_back_from_finished_is_open_again(self):
        returned = status_of([R.RETURNED], RefundStatus.COMPLETED, taken_up_again=False)
        assert returned is RefundStatus.RETURNED
        assert status_of([R.RECEIVED], RefundStatus.COMPLETED, taken_up_again=True) is RefundStatus.RETURNED
        assert status_of([R.RECEIVED], RefundStatus.SUBMITTING, taken_up_again=False) is RefundStatus.SUBMITTED

    def test_an_unknown_word_is_no_refusal(self):
        assert refund_status("pending") is R.UNKNOWN
        assert status_of([R.UNKNOWN], RefundStatus.SUBMITTING, taken_up_again=False) is RefundStatus.SUBMITTED

    def test_it_has_failed_only_when_all_that_was_made_is_dead(self):
        assert status_of([R.CANCELLED], RefundStatus.SUBMITTED, taken_up_again=False) is RefundStatus.FAILED
        assert status_of([R.CANCELLED], RefundStatus.REQUESTED, taken_up_again=False) is RefundStatus.REQUESTED
        assert status_of([R.CANCELLED, R.FINISHED], RefundStatus.FAILED, taken_up_again=False) is RefundStatus.COMPLETED


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
    public_urls = PublicUrls("http://localhost:8000", Digests("secret", "payments"), ["https://learn.example"])
    assert public_urls.return_url("https://learn.example/done?x=1", new_id()) == "https://learn.example/done?x=1"
    assert public_urls.return_url("http://localhost:8000/done", new_id()) == "http://localhost:8000/done"
    with pytest.raises(orders.ReturnUrlNotAllowed):
        public_urls.return_url(url, new_id())


def test_receipt_numbers_carry_londons_year():
    assert orders.receipt_number(7, datetime(2026, 12, 31, 23, 30, tzinfo=UTC), POLICY) == "MC-2026-000007"
    summer_new_year = datetime(2026, 7, 1, tzinfo=UTC)
    assert orders.receipt_number(1234567, summer_new_year, POLICY) == "MC-2026-1234567"
