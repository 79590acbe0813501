"""The table finds what does not fit: every fact is falsified once."""

from dataclasses import replace

import pytest

from embedded.replay.deliveries import Deliveries
from embedded.replay.facts import Enrolled, Facts, Line, Outcome
from embedded.replay.reconcile import Expected, delivered, print_table, rows

PRICE = 49500


def facts():
    """Three lines: one passed at the second attempt, one withdrawn after handing in, one refunded; one compensated."""
    return Facts(
        lines=[
            Line("l1", "e1", PRICE, None, 0),
            Line("l2", "e2", PRICE, None, 0),
            Line("l3", "e3", PRICE, "cooling_off", PRICE),
            Line("l4", None, PRICE, "activation_impossible", PRICE),
        ],
        enrolments=[
            Enrolled("e1", "l1", "completed", None),
            Enrolled("e2", "l2", "cancelled", "withdrawn"),
            Enrolled("e3", "l3", "cancelled", "refunded"),
        ],
        not_activated={"l4"},
        outcomes=[
            Outcome("e1", 1, "ratified", passed=False),
            Outcome("e1", 2, "ratified", passed=True),
            Outcome("somebody else's", 9, "marked", passed=True),
        ],
        attempts_allowed=3,
        credits={"e1": "c1"},
        badges=["c1"],
        seen_credits=["c1"],
        seen_badges=["c1"],
        stackers={7},
        postings=8,
        sales_minor=2 * PRICE,
        study_records=1,
        credit_records=1,
    )


WANTED = Expected(
    passes=1,
    stackers=frozenset({7}),
    withdrawn=frozenset({"e2"}),
    cooled_off=frozenset({"e3"}),
    refused=1,
    tried_again=1,
)


def differing(found, wanted=WANTED):
    return [row.what for row in rows(found, wanted) if row.differences]


def test_what_fits_has_no_differences():
    assert differing(facts()) == []


@pytest.mark.parametrize(
    ("falsify", "named"),
    [
        (lambda f: f.lines.pop(0), "confirmed payments' lines"),
        (lambda f: f.lines.__setitem__(3, replace(f.lines[3], refund_reason=None)), "confirmed payments' lines"),
        (lambda f: f.unpaid_orders.append("o9"), "confirmed payments' lines"),
        (lambda f: f.enrolments.append(Enrolled("e9", "l1", "active", None)), "confirmed payments' lines"),
        (lambda f: f.enrolments.append(Enrolled("e9", "l4", "active", None)), "confirmed payments' lines"),
        (lambda f: f.not_activated.clear(), "activations refused"),
        (lambda f: setattr(f, "sales_minor", f.sales_minor - 1), "sales on the ledger"),
        (lambda f: f.unbalanced.append("5"), "ledger postings = 0"),
        (lambda f: f.enrolments.__setitem__(1, replace(f.enrolments[1], status="active")), "withdrawals asked for"),
        (lambda f: f.enrolments.__setitem__(2, replace(f.enrolments[2], reason_code="withdrawn")), "cooling-off"),
        (lambda f: f.outcomes.pop(1), "courses passed in the data"),
        (lambda f: f.credits.clear(), "courses passed in the data"),
        (lambda f: f.badges.clear(), "courses passed in the data"),
        (lambda f: f.badges.append("c1"), "courses passed in the data"),
        (lambda f: f.seen_credits.clear(), "credits in the study records"),
        (lambda f: f.seen_badges.append("c2"), "credits in the study records"),
        (lambda f: f.stackers.clear(), "offered a title"),
        (lambda f: f.outcomes.append(Outcome("e1", 4, "ratified", passed=False)), "no enrolment above 3"),
        (lambda f: f.outcomes.extend([Outcome("e1", 2, "ratified", passed=False)] * 2), "no enrolment above 3"),
        (lambda f: f.outcomes.append(Outcome("e2", 1, "released", passed=False)), "results ratified"),
        (lambda f: f.differing_study_records.append("someone"), "study records equal to their rebuild"),
        (lambda f: f.differing_credit_records.append("someone"), "badges, titles and transcripts"),
    ],
)
def test_what_does_not_fit_is_reported(falsify, named):
    found = facts()
    falsify(found)
    assert any(named in what for what in differing(found))


def test_a_voided_attempt_is_no_attempt():
    found = facts()
    found.outcomes += [Outcome("e1", 2, "voided", passed=None)] * 5
    assert differing(found) == []


def test_a_purchase_that_should_have_been_refused_is_reported():
    assert differing(facts(), replace(WANTED, refused=0)) == ["courses passed before = purchases refused"]


@pytest.mark.parametrize(
    "found",
    [
        Deliveries(events=2, unsent=["payments.order.placed.v1 x"]),
        Deliveries(hearings=2, handled=1, astray=["payments.payment.confirmed.v1"]),
        Deliveries(waiting=1),
    ],
)
def test_an_event_that_is_not_delivered_is_reported(found):
    assert sum(bool(row.differences) for row in delivered(found)) == 1
    assert not any(row.differences for row in delivered(Deliveries()))


def test_the_table_names_the_first_differences(capsys):
    found = facts()
    found.credits |= {f"e{number}": f"c{number}" for number in range(2, 12)}
    print_table(rows(found, WANTED))
    printed = capsys.readouterr().out
    assert "    e2\n" in printed
    assert "DIFFERENCES" in printed
    print_table(rows(facts(), WANTED))
    assert "Everything reconciles: no differences." in capsys.readouterr().out
