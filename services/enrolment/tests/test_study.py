"""Progress and the study record, which facts give in whatever order they arrive."""

import itertools
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrolment.domain import facts as kinds
from enrolment.domain import study
from enrolment.domain.facts import Fact

from .facts import ENROLMENT, EXHAUSTED, fact, uid
from .study_facts import CLAIMED, CONFERRED, SUPERSEDED, award, record


@pytest.mark.parametrize(("units", "finished", "percent"), [(0, 0, 0), (6, 0, 0), (6, 1, 16), (6, 5, 83), (6, 6, 100)])
def test_percent_is_rounded_down(units, finished, percent):
    assert study.Progress(units, finished, finished).percent == percent


def submitted(number: int, attempt_no: int, hours: float, replaces: UUID | None = None) -> Fact:
    return fact(
        kinds.SubmissionReceived,
        hours=hours,
        subject=uid(number),
        submission_id=uid(number),
        enrolment_id=ENROLMENT,
        window_id=uid(50),
        attempt_no=attempt_no,
        sha256="ab",
        replaces=replaces,
    )


def voided(number: int, hours: float) -> Fact:
    return fact(kinds.SubmissionVoided, hours=hours, subject=uid(number), enrolment_id=ENROLMENT)


def result(number: int, attempt_no: int, mark: str, hours: float) -> Fact:
    kind = kinds.AssessmentPassed if Decimal(mark) >= 50 else kinds.AssessmentFailed
    return fact(kind, hours=hours, subject=uid(number), enrolment_id=ENROLMENT, attempt_no=attempt_no, mark=mark)


def credit(number: int, submission: int, mark: str, hours: float) -> Fact:
    return fact(
        kinds.CreditAwarded,
        hours=hours,
        subject=uid(number),
        credit_id=uid(number),
        enrolment_id=ENROLMENT,
        submission_id=uid(submission),
        course_code="C",
        course_title="Course",
        module_family="F",
        subject_name="Data Science",
        credits=15,
        level=7,
        mark=mark,
    )


def test_a_later_file_supersedes_the_earlier_ones_of_its_attempt():
    """W6: last one counts, earlier kept as superseded; one attempt."""
    [only] = record([submitted(13, 1, 3), submitted(11, 1, 1), submitted(12, 1, 2), submitted(21, 2, 9)]).enrolments
    assert [(one.submission_id.int, one.status) for one in only.submissions] == [
        (11, "superseded"),
        (12, "superseded"),
        (13, "received"),
        (21, "received"),
    ]


def test_a_file_supersedes_the_one_it_names_whatever_the_clocks_of_those_who_received_them_say():
    first, old = submitted(11, 1, 5), submitted(10, 1, 1)
    later = [submitted(12, 1, 4, replaces=uid(11)), submitted(13, 1, 3, replaces=uid(12))]
    for in_order in itertools.permutations([old, first, *later]):
        [only] = record(in_order).enrolments
        assert {one.submission_id.int: one.status for one in only.submissions} == {
            **dict.fromkeys((10, 11, 12), "superseded"),
            13: "received",
        }
    [only] = record([first, later[1]]).enrolments
    assert len([one for one in only.submissions if one.status == "received"]) == 2, "12 has yet to arrive"


def test_no_mark_of_a_voided_submission_is_shown():
    """F5: submission voided, attempt not counted, no mark ever released."""
    [only] = record([submitted(11, 1, 1), voided(11, 5), result(11, 1, "64", 4)]).enrolments
    assert only.submissions[0].status == "voided"
    assert only.results == ()


def test_a_result_is_provisional_until_the_board_has_ratified_it():
    facts = [submitted(11, 1, 1), result(11, 1, "64", 4)]
    assert [one.standing for one in record(facts).enrolments[0].results] == ["provisional"]
    facts.append(credit(30, 11, "64", 9))
    assert [one.standing for one in record(facts).enrolments[0].results] == ["ratified"]


def test_a_fail_is_provisional_until_the_board_has_ratified_it():
    facts = [submitted(11, 1, 1), result(11, 1, "38", 4)]
    assert [one.standing for one in record(facts).enrolments[0].results] == ["provisional"]
    facts.append(fact(kinds.FailRatified, hours=9, subject=uid(11), enrolment_id=ENROLMENT, submission_id=uid(11)))
    assert [one.standing for one in record(facts).enrolments[0].results] == ["ratified"]


def test_a_result_is_frozen_while_a_case_about_it_is_open():
    opened = fact(
        kinds.MisconductOpened, hours=5, subject=uid(40), enrolment_id=ENROLMENT, submission_id=uid(11), attempt_no=1
    )
    decided = fact(
        kinds.MisconductDecided,
        hours=8,
        subject=uid(40),
        enrolment_id=ENROLMENT,
        submission_id=uid(11),
        outcome="no_case",
    )
    facts = [opened, result(11, 1, "64", 4), credit(30, 11, "64", 9)]
    assert [one.standing for one in record(facts).enrolments[0].results] == ["frozen"]
    assert [one.standing for one in record([decided, *facts]).enrolments[0].results] == ["ratified"]


def test_a_mark_taken_away_replaces_the_pass_that_was_released_before():
    taken = fact(kinds.AssessmentFailed, hours=6, subject=uid(11), enrolment_id=ENROLMENT, attempt_no=1, mark="0")
    for facts in ([result(11, 1, "64", 4), taken], [taken, result(11, 1, "64", 4)]):
        [only] = record(facts).enrolments[0].results
        assert (only.outcome, only.mark) == ("failed", 0)


def test_credit_given_back_is_awarded_again():
    facts = [
        credit(5, 11, "64", 50),
        fact(kinds.CreditRevoked, hours=60, subject=uid(5), reason_code="misconduct"),
        fact(kinds.CreditReinstated, hours=70, subject=uid(5), reason_code="appeal"),
    ]
    assert [one.status for one in record(facts[:2]).credits] == ["revoked"]
    [held] = record(facts).credits
    assert (held.status, held.reason_code, record(facts).credits_total) == ("awarded", None, 15)


def test_fails_are_ratified_when_the_attempts_are_exhausted():
    """R3: attempts 38, 44, 49."""
    marks = {11: "38", 12: "44", 13: "49"}
    facts = [result(number, number - 10, mark, number) for number, mark in marks.items()]
    assert {one.standing for one in record(facts).enrolments[0].results} == {"provisional"}
    results = record([*facts, EXHAUSTED]).enrolments[0].results
    assert [(one.attempt_no, one.mark, one.outcome, one.standing) for one in results] == [
        (1, Decimal(38), "failed", "ratified"),
        (2, Decimal(44), "failed", "ratified"),
        (3, Decimal(49), "failed", "ratified"),
    ]


def test_revoked_credit_stays_in_the_record_and_out_of_the_total():
    facts = [credit(30, 11, "64", 9), credit(31, 12, "70", 10)]
    assert record(facts).credits_total == 30
    revoked = fact(kinds.CreditRevoked, hours=20, subject=uid(30), credit_id=uid(30), reason_code="appeal")
    shown = record([*facts, revoked])
    assert shown.credits_total == 15
    assert [(one.status, one.reason_code) for one in shown.credits] == [("revoked", "appeal"), ("awarded", None)]


def badge(number: int, credit_number: int) -> Fact:
    return fact(
        kinds.BadgeIssued,
        hours=11,
        subject=uid(number),
        badge_id=uid(number),
        credit_id=uid(credit_number),
        credential_url=f"https://x.example/{number}",
    )


BADGE_GONE = fact(kinds.BadgeRevoked, hours=21, subject=uid(40), reason_code="appeal")


LAPSED = award(kinds.AwardLapsed, 60, 31)


def test_a_badge_is_issued_until_it_is_revoked():
    assert [one.status for one in record([badge(40, 30)]).badges] == ["issued"]
    assert [one.status for one in record([BADGE_GONE, badge(40, 30)]).badges] == ["revoked"]
    assert record([BADGE_GONE]).badges == ()


def test_an_award_is_claimed_then_conferred_then_superseded():
    for facts, status in [
        ([CLAIMED], "claimed"),
        ([LAPSED, CLAIMED], "lapsed"),
        ([CONFERRED], "conferred"),
        ([CONFERRED, CLAIMED], "conferred"),
        ([SUPERSEDED, CONFERRED, CLAIMED], "superseded"),
    ]:
        [only] = record(facts).awards
        assert only.status == status
    assert only.superseded_by == uid(61)
    assert (only.classification, only.certificate_number) == ("Merit", "N1")


def eligibility(sequence: int, added: list[str], removed: list[str]) -> Fact:
    levels = [{"level": "pgcert", "titles_added": added, "titles_removed": removed}]
    return fact(kinds.AwardEligibilityChanged, subject=uid(100), hours=sequence, sequence=sequence, levels=levels)


def test_eligibility_follows_the_order_that_credentials_gave():
    changes = [eligibility(1, ["A"], []), eligibility(2, ["B"], ["A"]), eligibility(3, ["A"], ["B"])]
    [level] = record(list(reversed(changes))).award_eligibility
    assert (level.level, level.titles) == ("pgcert", ("A",))
    assert record([eligibility(1, ["A"], []), eligibility(2, [], ["A"])]).award_eligibility == ()


EVERYTHING = [
    submitted(11, 1, 1),
    submitted(12, 1, 2),
    result(12, 1, "38", 4),
    submitted(13, 2, 5),
    voided(13, 6),
    submitted(14, 2, 7),
    result(14, 2, "55", 8),
    credit(30, 14, "50", 9),
    badge(40, 30),
    BADGE_GONE,
    CLAIMED,
    CONFERRED,
    SUPERSEDED,
    eligibility(1, ["A"], []),
    eligibility(2, ["B"], ["A"]),
]


@given(st.permutations(EVERYTHING))
def test_the_record_is_the_same_whatever_order_its_facts_arrived_in(shuffled):
    assert record(shuffled) == record(EVERYTHING)
