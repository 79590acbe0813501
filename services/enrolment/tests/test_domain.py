"""The rules, without a database."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrolment.domain import declarations, learners, regulations, study
from enrolment.domain.enrolments import (
    Decision,
    Ground,
    MaterialsClosed,
    PaidLine,
    Situation,
    Status,
    decide,
    is_refunded,
    must_open,
    passed_families,
    standing,
)
from enrolment.domain.facts import Fact, Kind
from shared.regulations import UnknownRegulations

T0 = datetime(2026, 11, 1, 10, tzinfo=UTC)
REGULATIONS = regulations.in_force(T0)


def uid(number: int) -> UUID:
    return UUID(int=number)


ENROLMENT, ORDER, LINE, COURSE = uid(1), uid(2), uid(3), uid(4)
GROUND = Ground(ENROLMENT, ORDER, LINE)


def fact(kind: Kind, *, hours: float = 0, subject: UUID = ENROLMENT, **data) -> Fact:
    plain = {name: str(value) if isinstance(value, UUID) else value for name, value in data.items()}
    return Fact.of(kind, subject, T0 + timedelta(hours=hours), {**plain, "hours": hours})


def reversed_(hours: float = 2) -> Fact:
    return fact(Kind.PAYMENT_REVERSED, hours=hours, subject=ORDER, order_id=ORDER, reason_code="dispute")


def settled(hours: float) -> Fact:
    return fact(Kind.PAYMENT_SETTLED, hours=hours, subject=ORDER, order_id=ORDER)


def disputed(hours: float = 2, case: int = 20) -> Fact:
    return fact(Kind.DISPUTE_OPENED, hours=hours, subject=uid(case), order_id=ORDER, reason_code="not_recognised")


def closed(outcome: str, hours: float, case: int = 20) -> Fact:
    return fact(Kind.DISPUTE_CLOSED, hours=hours, subject=uid(case), order_id=ORDER, outcome=outcome)


def restored(hours: float) -> Fact:
    return fact(Kind.PAYMENT_RESTORED, hours=hours, subject=ORDER, order_id=ORDER)


REFUND = fact(Kind.REFUND_REQUESTED, hours=30, subject=uid(9), order_line_id=LINE)
WITHDRAWAL = fact(Kind.WITHDRAWAL, hours=20, enrolment_id=ENROLMENT)
LOST = fact(Kind.PAYMENT_LOST, hours=40, enrolment_id=ENROLMENT)
CREDIT = fact(
    Kind.CREDIT_AWARDED, hours=50, subject=uid(5), credit_id=uid(5), enrolment_id=ENROLMENT, module_family="F"
)
REINSTATED = fact(Kind.CREDIT_REINSTATED, hours=70, subject=uid(5), credit_id=uid(5), reason_code="appeal")
REVOKED = fact(Kind.CREDIT_REVOKED, hours=60, subject=uid(5), credit_id=uid(5), reason_code="appeal")
EXHAUSTED = fact(Kind.ATTEMPTS_EXHAUSTED, hours=45, enrolment_id=ENROLMENT)


# --- the status that facts give


@pytest.mark.parametrize(
    ("facts", "status", "reason"),
    [
        ([], Status.ACTIVE, None),
        ([CREDIT], Status.COMPLETED, None),
        ([CREDIT, REVOKED], Status.COMPLETED, None),
        ([EXHAUSTED], Status.FAILED, "attempts_exhausted"),
        ([reversed_()], Status.SUSPENDED, "dispute"),
        ([reversed_(), CREDIT], Status.SUSPENDED, "dispute"),
        ([reversed_(), settled(3)], Status.ACTIVE, None),
        ([reversed_(), settled(1)], Status.SUSPENDED, "dispute"),
        ([reversed_(), settled(2)], Status.SUSPENDED, "dispute"),
        ([reversed_(), settled(3), reversed_(4)], Status.SUSPENDED, "dispute"),
        ([reversed_(), fact(Kind.REINSTATEMENT, hours=2)], Status.ACTIVE, None),
        ([reversed_(), fact(Kind.REINSTATEMENT, hours=3), reversed_(4)], Status.SUSPENDED, "dispute"),
        ([reversed_(), settled(3), CREDIT], Status.COMPLETED, None),
        ([reversed_(), restored(3)], Status.ACTIVE, None),
        ([reversed_(), restored(3), reversed_(4)], Status.SUSPENDED, "dispute"),
        ([reversed_(4), restored(3)], Status.SUSPENDED, "dispute"),
        ([disputed()], Status.SUSPENDED, "payment_disputed"),
        ([disputed(), CREDIT], Status.SUSPENDED, "payment_disputed"),
        ([disputed(), settled(3)], Status.SUSPENDED, "payment_disputed"),
        ([disputed(), closed("won", 3)], Status.ACTIVE, None),
        ([disputed(), closed("withdrawn", 3), CREDIT], Status.COMPLETED, None),
        ([disputed(), closed("won", 3), disputed(4, case=21)], Status.SUSPENDED, "payment_disputed"),
        ([disputed(), closed("lost", 3)], Status.SUSPENDED, "chargeback"),
        ([closed("lost", 3)], Status.SUSPENDED, "chargeback"),
        ([disputed(), closed("lost", 3), reversed_(4)], Status.SUSPENDED, "dispute"),
        ([disputed(), closed("lost", 3), reversed_(3), restored(5)], Status.ACTIVE, None),
        ([disputed(), fact(Kind.REINSTATEMENT, hours=3)], Status.ACTIVE, None),
        ([REFUND], Status.CANCELLED, "refunded"),
        ([REFUND, CREDIT], Status.CANCELLED, "refunded"),
        ([WITHDRAWAL], Status.CANCELLED, "withdrawn"),
        ([WITHDRAWAL, REFUND], Status.CANCELLED, "withdrawn"),
        ([reversed_(), LOST], Status.CANCELLED, "payment_lost"),
        ([reversed_(), LOST, settled(400)], Status.CANCELLED, "payment_lost"),
    ],
)
def test_the_facts_give_the_status(facts, status, reason):
    found = standing(GROUND, facts)
    assert (found.status, found.reason_code) == (status, reason)


def test_facts_of_other_orders_and_enrolments_are_of_no_account():
    others = [
        fact(Kind.PAYMENT_REVERSED, subject=uid(8), order_id=uid(8), reason_code="dispute"),
        fact(Kind.REFUND_REQUESTED, subject=uid(9), order_line_id=uid(8)),
        fact(Kind.REFUND_REQUESTED, subject=uid(10)),
        fact(Kind.WITHDRAWAL, subject=uid(8), enrolment_id=uid(8)),
        fact(Kind.ATTEMPTS_EXHAUSTED, subject=uid(8), enrolment_id=uid(8)),
        fact(Kind.CREDIT_AWARDED, subject=uid(5), credit_id=uid(5), enrolment_id=uid(8), module_family="F"),
    ]
    assert standing(GROUND, others).status is Status.ACTIVE
    reinstated_other = [reversed_(), fact(Kind.REINSTATEMENT, hours=9, subject=uid(8)), settled(1)]
    assert standing(GROUND, reinstated_other).status is Status.SUSPENDED


HISTORY = [
    reversed_(),
    settled(3),
    disputed(),
    closed("lost", 4),
    reversed_(5),
    restored(6),
    REFUND,
    WITHDRAWAL,
    LOST,
    CREDIT,
    REVOKED,
    EXHAUSTED,
]


@given(st.lists(st.sampled_from(HISTORY)).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_in_which_facts_arrive_never_matters(both):
    some, shuffled = both
    assert standing(GROUND, some) == standing(GROUND, [*shuffled, *shuffled])
    assert passed_families(some) == passed_families(shuffled)


def test_the_same_fact_has_the_same_id_and_another_another():
    assert reversed_().fact_id == reversed_().fact_id
    assert reversed_(2).fact_id != reversed_(3).fact_id
    assert fact(Kind.WITHDRAWAL).fact_id != fact(Kind.PAYMENT_LOST).fact_id


# --- what becomes of a paid line

SITUATION = Situation(
    eligible=True,
    module_family="F",
    withdrawn_at=None,
    open_courses=frozenset(),
    open_families=frozenset(),
    passed_families=frozenset(),
)
PAID = PaidLine(COURSE, T0, T0)


def decided(at: datetime = T0, **changes) -> Decision:
    fields = {name: getattr(SITUATION, name) for name in Situation.__dataclass_fields__}
    return decide(PAID, Situation(**{**fields, **changes}), REGULATIONS, at)


def test_a_paid_line_of_an_eligible_learner_is_activated():
    assert decided() is Decision.ACTIVATE


def test_what_may_still_arrive_is_waited_for_but_not_for_ever():
    last = T0 + REGULATIONS.activation_wait
    just_before = last - timedelta(microseconds=1)
    assert decided(just_before, eligible=False) is Decision.WAIT
    assert decided(last, eligible=False) is Decision.NOT_REGISTERED
    assert decided(just_before, module_family=None) is Decision.WAIT
    assert decided(last, module_family=None) is Decision.UNKNOWN_COURSE


def test_a_course_withdrawn_by_the_instant_of_the_payment_is_refused():
    assert decided(withdrawn_at=T0) is Decision.COURSE_WITHDRAWN
    assert decided(withdrawn_at=T0 + timedelta(microseconds=1)) is Decision.ACTIVATE
    assert decided(withdrawn_at=T0, eligible=False) is Decision.COURSE_WITHDRAWN


def test_a_course_or_family_under_way_is_refused():
    assert decided(open_courses={COURSE}) is Decision.ALREADY_ENROLLED
    assert decided(open_families={"F"}) is Decision.ALREADY_ENROLLED
    assert decided(open_families={"G"}) is Decision.ACTIVATE


def test_a_passed_family_is_refused_as_such():
    assert decided(passed_families={"F"}, open_families={"F"}) is Decision.ALREADY_PASSED


def test_revoked_credit_is_no_pass():
    assert passed_families([CREDIT]) == {"F"}
    assert passed_families([REVOKED, CREDIT]) == frozenset()
    assert passed_families([REINSTATED, REVOKED, CREDIT]) == {"F"}
    again = fact(Kind.CREDIT_REVOKED, hours=80, subject=uid(5), credit_id=uid(5), reason_code="error")
    assert passed_families([again, REINSTATED, REVOKED, CREDIT]) == frozenset()


def test_a_refund_concerns_its_line():
    assert is_refunded(LINE, [REFUND])
    assert not is_refunded(uid(77), [REFUND])


# --- regulations and access


def test_the_regulations_in_force_are_those_of_the_instant():
    assert regulations.in_force(datetime(2026, 1, 1, tzinfo=UTC)).version == "mc-regs-2026.1"
    assert regulations.in_force(datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC)).version == "mc-regs-2026.1"
    assert regulations.in_force(datetime(2026, 9, 1, tzinfo=UTC)).version == "mc-regs-2026.2"
    with pytest.raises(UnknownRegulations, match="no regulations were in force"):
        regulations.in_force(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC))
    with pytest.raises(UnknownRegulations, match="there are no regulations"):
        regulations.find("mc-regs-1999.1")


@pytest.mark.parametrize("status", Status)
def test_only_an_active_or_completed_enrolment_opens_the_materials(status):
    if status in {Status.ACTIVE, Status.COMPLETED}:
        must_open("materials", status, REGULATIONS)
    else:
        with pytest.raises(MaterialsClosed) as refusal:
            must_open("materials", status, REGULATIONS)
        assert refusal.value.code == "materials_closed"


# --- self-certification

BOTH = {"degree_or_experience": True, "english_proficiency": True}


def test_both_criteria_affirmed_in_the_wording_in_force_are_certified():
    certificate = declarations.certify("2026.1", BOTH, T0)
    assert certificate.answers == BOTH
    assert len(certificate.sha256) == 64
    assert certificate == declarations.certify("2026.1", dict(reversed(BOTH.items())), T0)


@pytest.mark.parametrize(
    ("answers", "missing", "unknown"),
    [
        ({}, ["degree_or_experience", "english_proficiency"], []),
        ({**BOTH, "english_proficiency": False}, ["english_proficiency"], []),
        ({"degree_or_experience": True}, ["english_proficiency"], []),
        ({**BOTH, "rich_uncle": True}, [], ["rich_uncle"]),
    ],
)
def test_anything_else_than_both_affirmed_is_refused(answers, missing, unknown):
    with pytest.raises(declarations.CriteriaNotAffirmed) as refusal:
        declarations.certify("2026.1", answers, T0)
    assert refusal.value.extras == {"not_affirmed": missing, "unknown": unknown}


def test_another_wording_than_the_one_in_force_is_refused():
    with pytest.raises(declarations.DeclarationOutdated):
        declarations.certify("2025.1", BOTH, T0)


def test_before_the_first_wording_the_first_is_current():
    assert declarations.current(datetime(2020, 1, 1, tzinfo=UTC)).version == "2026.1"


# --- people


@pytest.mark.parametrize(
    ("family", "given", "display", "shown"),
    [
        ("Okonkwo", "Adaeze", None, "Adaeze Okonkwo"),
        ("Suharto", None, None, "Suharto"),
        ("李", "小龙", "李小龙", "李小龙"),
        ("  van   der Berg ", "Anna", None, "Anna van der Berg"),
        ("محمود", "نجيب", None, "نجيب محمود"),
    ],
)
def test_names_are_taken_in_any_script(family, given, display, shown):
    assert learners.person_name(family, given, display).display_name == shown


def test_the_same_name_is_the_same_bytes():
    assert learners.person_name("Zoe\u0308", None, None) == learners.person_name("Zo\u00eb", None, None)


@pytest.mark.parametrize(("family", "given", "display"), [("…", None, None), ("A", "1", None), ("A", None, "!")])
def test_a_name_needs_a_letter(family, given, display):
    with pytest.raises(learners.EmptyName):
        learners.person_name(family, given, display)


def test_a_display_name_made_of_the_others_follows_them():
    used = learners.person_name("Okonkwo", "Adaeze", None)
    assert learners.rename(used, {"family_name": "Reid"}).display_name == "Adaeze Reid"
    chosen = learners.person_name("Okonkwo", "Adaeze", "Ada")
    assert learners.rename(chosen, {"family_name": "Reid"}).display_name == "Ada"
    assert learners.rename(chosen, {"display_name": None}).display_name == "Adaeze Okonkwo"
    assert learners.rename(chosen, {"given_name": None}).given_name is None


@pytest.mark.parametrize("code", ["XX", "UK", "gb", ""])
def test_a_country_is_an_iso_code(code):
    learners.must_be_country("GB")
    with pytest.raises(learners.UnknownCountry):
        learners.must_be_country(code)


@pytest.mark.parametrize("born", [date(2026, 11, 1), date(2027, 1, 1), date(1900, 1, 1)])
def test_a_date_of_birth_lies_within_a_life(born):
    learners.must_be_plausible(date(1990, 2, 28), T0.date())
    with pytest.raises(learners.ImplausibleDateOfBirth):
        learners.must_be_plausible(born, T0.date())


# --- progress and the study record


@pytest.mark.parametrize(("units", "finished", "percent"), [(0, 0, 0), (6, 0, 0), (6, 1, 16), (6, 5, 83), (6, 6, 100)])
def test_percent_is_rounded_down(units, finished, percent):
    assert study.Progress(units, finished, finished).percent == percent


PERSON = study.Person(uid(100), "Ada", T0)
BOUGHT = study.Course(COURSE, uid(6), 1, "c", "C", "Course", "F", "Data Science", "Northbridge", 15, 7, 10)
ENROLLED = study.Enrolled(ENROLMENT, BOUGHT, "active", None, "mc-regs-2026.2", T0, study.Progress(6, 3, 2))


def submitted(number: int, attempt_no: int, hours: float) -> Fact:
    return fact(
        Kind.SUBMISSION_RECEIVED,
        hours=hours,
        subject=uid(number),
        submission_id=uid(number),
        enrolment_id=ENROLMENT,
        window_id=uid(50),
        attempt_no=attempt_no,
        sha256="ab",
    )


def voided(number: int, hours: float) -> Fact:
    return fact(Kind.SUBMISSION_VOIDED, hours=hours, subject=uid(number), enrolment_id=ENROLMENT)


def result(number: int, attempt_no: int, mark: str, hours: float) -> Fact:
    kind = Kind.ASSESSMENT_PASSED if Decimal(mark) >= 50 else Kind.ASSESSMENT_FAILED
    return fact(kind, hours=hours, subject=uid(number), enrolment_id=ENROLMENT, attempt_no=attempt_no, mark=mark)


def credit(number: int, submission: int, mark: str, hours: float) -> Fact:
    return fact(
        Kind.CREDIT_AWARDED,
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


def record(facts) -> study.StudyRecord:
    return study.study_record(PERSON, [ENROLLED], [], facts)


def test_a_later_file_supersedes_the_earlier_ones_of_its_attempt():
    """W6: last one counts, earlier kept as superseded; one attempt."""
    [only] = record([submitted(13, 1, 3), submitted(11, 1, 1), submitted(12, 1, 2), submitted(21, 2, 9)]).enrolments
    assert [(one.submission_id.int, one.status) for one in only.submissions] == [
        (11, "superseded"),
        (12, "superseded"),
        (13, "received"),
        (21, "received"),
    ]


def test_no_mark_of_a_voided_submission_is_told():
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
    facts.append(fact(Kind.FAIL_RATIFIED, hours=9, subject=uid(11), enrolment_id=ENROLMENT, submission_id=uid(11)))
    assert [one.standing for one in record(facts).enrolments[0].results] == ["ratified"]


def test_a_result_is_frozen_while_a_case_about_it_is_open():
    opened = fact(
        Kind.MISCONDUCT_OPENED, hours=5, subject=uid(40), enrolment_id=ENROLMENT, submission_id=uid(11), attempt_no=1
    )
    decided = fact(
        Kind.MISCONDUCT_DECIDED,
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
    taken = fact(Kind.ASSESSMENT_FAILED, hours=6, subject=uid(11), enrolment_id=ENROLMENT, attempt_no=1, mark="0")
    for facts in ([result(11, 1, "64", 4), taken], [taken, result(11, 1, "64", 4)]):
        [only] = record(facts).enrolments[0].results
        assert (only.outcome, only.mark) == ("failed", 0)


def test_credit_given_back_is_awarded_again():
    facts = [
        credit(5, 11, "64", 50),
        fact(Kind.CREDIT_REVOKED, hours=60, subject=uid(5), reason_code="misconduct"),
        fact(Kind.CREDIT_REINSTATED, hours=70, subject=uid(5), reason_code="appeal"),
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
    revoked = fact(Kind.CREDIT_REVOKED, hours=20, subject=uid(30), credit_id=uid(30), reason_code="appeal")
    told = record([*facts, revoked])
    assert told.credits_total == 15
    assert [(one.status, one.reason_code) for one in told.credits] == [("revoked", "appeal"), ("awarded", None)]


def badge(number: int, credit_number: int) -> Fact:
    return fact(
        Kind.BADGE_ISSUED,
        hours=11,
        subject=uid(number),
        badge_id=uid(number),
        credit_id=uid(credit_number),
        credential_url=f"https://x.example/{number}",
    )


BADGE_GONE = fact(Kind.BADGE_REVOKED, hours=21, subject=uid(40), reason_code="appeal")


def award(kind: Kind, number: int, hours: float, **data) -> Fact:
    return fact(kind, hours=hours, subject=uid(number), award_id=uid(number), **data)


CLAIMED = award(
    Kind.AWARD_CLAIMED, 60, 30, level="pgcert", title="PGCert in Data Science", credit_ids=[str(uid(30))], rule="single"
)
CONFERRED = award(
    Kind.AWARD_CONFERRED,
    60,
    31,
    level="pgcert",
    title="PGCert in Data Science",
    credit_ids=[str(uid(30))],
    classification="Merit",
    certificate_number="N1",
)
LAPSED = award(Kind.AWARD_LAPSED, 60, 31)
SUPERSEDED = award(Kind.AWARD_SUPERSEDED, 60, 32, superseded_by=uid(61))


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
    return fact(Kind.ELIGIBILITY_CHANGED, subject=uid(100), hours=sequence, sequence=sequence, levels=levels)


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
