"""The rules, without a database."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrolment.domain import declarations, learners, regulations
from enrolment.domain import facts as kinds
from enrolment.domain.enrolments import (
    Decision,
    EnrolmentStatus,
    MaterialsClosed,
    PaidLine,
    Situation,
    decide,
    derived_state,
    is_refunded,
    lost_since,
    must_open,
    passed_families,
)
from shared.regulations import UnknownRegulations

from .facts import (
    COURSE,
    CREDIT,
    EXHAUSTED,
    GRANTED,
    GROUND,
    LINE,
    LOST,
    REFUND,
    REINSTATED,
    REVOKED,
    SECOND,
    T0,
    WITHDRAWAL,
    closed,
    confirmed,
    disputed,
    fact,
    restored,
    reversed_,
    settled,
    uid,
)

REGULATIONS = regulations.in_force(T0)

# --- the status that facts give


@pytest.mark.parametrize(
    ("facts", "status", "reason"),
    [
        ([], EnrolmentStatus.ACTIVE, None),
        ([CREDIT], EnrolmentStatus.COMPLETED, None),
        ([CREDIT, REVOKED], EnrolmentStatus.COMPLETED, None),
        ([EXHAUSTED], EnrolmentStatus.FAILED, "attempts_exhausted"),
        ([reversed_()], EnrolmentStatus.SUSPENDED, "dispute"),
        ([reversed_(), CREDIT], EnrolmentStatus.SUSPENDED, "dispute"),
        ([reversed_(), settled(3)], EnrolmentStatus.ACTIVE, None),
        ([reversed_(), settled(1)], EnrolmentStatus.SUSPENDED, "dispute"),
        ([reversed_(), settled(2)], EnrolmentStatus.SUSPENDED, "dispute"),
        ([reversed_(), settled(3), reversed_(4)], EnrolmentStatus.SUSPENDED, "dispute"),
        ([reversed_(), fact(kinds.Reinstatement, hours=2)], EnrolmentStatus.ACTIVE, None),
        ([reversed_(), fact(kinds.Reinstatement, hours=3), reversed_(4)], EnrolmentStatus.SUSPENDED, "dispute"),
        ([reversed_(), settled(3), CREDIT], EnrolmentStatus.COMPLETED, None),
        ([reversed_(), restored(3)], EnrolmentStatus.ACTIVE, None),
        ([reversed_(), restored(3), reversed_(4)], EnrolmentStatus.SUSPENDED, "dispute"),
        ([reversed_(4), restored(3)], EnrolmentStatus.SUSPENDED, "dispute"),
        ([disputed()], EnrolmentStatus.SUSPENDED, "payment_disputed"),
        ([disputed(), CREDIT], EnrolmentStatus.SUSPENDED, "payment_disputed"),
        ([disputed(), settled(3)], EnrolmentStatus.SUSPENDED, "payment_disputed"),
        ([disputed(), closed("won", 3)], EnrolmentStatus.ACTIVE, None),
        ([disputed(), closed("withdrawn", 3), CREDIT], EnrolmentStatus.COMPLETED, None),
        ([disputed(), closed("won", 3), disputed(4, case=21)], EnrolmentStatus.SUSPENDED, "payment_disputed"),
        ([disputed(), closed("lost", 3)], EnrolmentStatus.SUSPENDED, "chargeback"),
        ([closed("lost", 3)], EnrolmentStatus.SUSPENDED, "chargeback"),
        ([disputed(), closed("lost", 3), reversed_(4)], EnrolmentStatus.SUSPENDED, "dispute"),
        ([disputed(), closed("lost", 3), reversed_(3), restored(5)], EnrolmentStatus.ACTIVE, None),
        ([disputed(), fact(kinds.Reinstatement, hours=3)], EnrolmentStatus.ACTIVE, None),
        ([REFUND], EnrolmentStatus.CANCELLED, "refunded"),
        ([REFUND, CREDIT], EnrolmentStatus.CANCELLED, "refunded"),
        ([WITHDRAWAL], EnrolmentStatus.CANCELLED, "withdrawn"),
        ([WITHDRAWAL, REFUND], EnrolmentStatus.CANCELLED, "refunded"),
        ([reversed_(), LOST], EnrolmentStatus.CANCELLED, "payment_lost"),
        ([reversed_(), LOST, settled(400)], EnrolmentStatus.CANCELLED, "payment_lost"),
        ([reversed_(), LOST, restored(400), GRANTED], EnrolmentStatus.CANCELLED, "refunded"),
        ([reversed_(), GRANTED, LOST, restored(400)], EnrolmentStatus.CANCELLED, "refunded"),
    ],
)
def test_the_facts_give_the_status(facts, status, reason):
    found = derived_state(GROUND, facts)
    assert (found.status, found.reason_code) == (status, reason)


PAID_AGAIN = [confirmed(), disputed(1), reversed_(2), restored(3, SECOND)]
"""The bank was asked about the first payment, the provider took it back, and a second one came in its place."""


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ([], None),
        ([closed("lost", 4)], None),
        ([closed("lost", 4), reversed_(5)], None),
        ([disputed(5, case=21)], None),
        ([disputed(5, case=21, payment=SECOND)], "payment_disputed"),
        ([closed("lost", 4), reversed_(5, SECOND)], "dispute"),
        ([reversed_(5, SECOND), settled(6)], "dispute"),
        ([reversed_(5, SECOND), restored(6)], "payment_disputed"),
    ],
)
def test_only_what_becomes_of_the_payment_that_pays_the_order_counts(later, reason):
    found = derived_state(GROUND, [*PAID_AGAIN, *later])
    assert found.reason_code == reason
    assert found.status is (EnrolmentStatus.SUSPENDED if reason else EnrolmentStatus.ACTIVE)
    assert (lost_since(GROUND, [*PAID_AGAIN, *later]) is not None) == (reason == "dispute")


def test_facts_of_other_orders_and_enrolments_are_of_no_account():
    others = [
        fact(kinds.PaymentReversed, subject=uid(8), order_id=uid(8), reason_code="dispute"),
        fact(kinds.RefundRequested, subject=uid(9), order_line_id=uid(8)),
        fact(kinds.RefundRequested, subject=uid(10)),
        fact(kinds.Withdrawal, subject=uid(8), enrolment_id=uid(8)),
        fact(kinds.AttemptsExhausted, subject=uid(8), enrolment_id=uid(8)),
        fact(kinds.CreditAwarded, subject=uid(5), credit_id=uid(5), enrolment_id=uid(8), module_family="F"),
    ]
    assert derived_state(GROUND, others).status is EnrolmentStatus.ACTIVE
    reinstated_other = [reversed_(), fact(kinds.Reinstatement, hours=9, subject=uid(8)), settled(1)]
    assert derived_state(GROUND, reinstated_other).status is EnrolmentStatus.SUSPENDED


def forgiven(*troubles, hours):
    """Decided by a clock that says `hours`, with these troubles known."""
    return fact(kinds.Reinstatement, hours=hours, forgives=[str(one.fact_id) for one in troubles])


@pytest.mark.parametrize("skew", [-900, 900])
@pytest.mark.parametrize(
    ("known", "later", "reason"),
    [
        ([reversed_(2)], [], None),
        ([disputed(2)], [], None),
        ([disputed(2)], [closed("lost", 4)], "chargeback"),
        ([disputed(2)], [disputed(3, case=21)], "payment_disputed"),
        ([reversed_(2)], [restored(3), reversed_(4)], "dispute"),
        ([closed("lost", 2)], [reversed_(2.1)], None),
        ([reversed_(2.1)], [closed("lost", 2)], None),
    ],
)
def test_staff_let_pass_what_they_knew_of_whatever_their_clock_says(known, later, reason, skew):
    assert derived_state(GROUND, [confirmed(), *known, forgiven(*known, hours=3 + skew), *later]).reason_code == reason


def test_what_became_of_a_credit_is_in_the_order_of_its_revisions():
    credit = {"subject": uid(5), "credit_id": uid(5)}
    taken = fact(kinds.CreditRevoked, hours=60, **credit, revision=1)
    back = fact(kinds.CreditReinstated, hours=59, **credit, revision=2)
    again = fact(kinds.CreditRevoked, hours=58, **credit, revision=3)
    assert passed_families([CREDIT, taken, back]) == {"F"}
    assert passed_families([CREDIT, again, taken, back]) == frozenset()
    assert passed_families([CREDIT, REVOKED, back]) == {"F"}, "the release before said no revision"


HISTORY = [
    confirmed(),
    reversed_(),
    settled(3),
    disputed(),
    closed("lost", 4),
    reversed_(5),
    restored(6),
    restored(7, SECOND),
    disputed(8, case=21),
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
    assert derived_state(GROUND, some) == derived_state(GROUND, [*shuffled, *shuffled])
    assert passed_families(some) == passed_families(shuffled)


def test_the_same_fact_has_the_same_id_and_another_another():
    assert reversed_().fact_id == reversed_().fact_id
    assert reversed_(2).fact_id != reversed_(3).fact_id
    assert fact(kinds.Withdrawal).fact_id != fact(kinds.PaymentLost).fact_id


# --- what becomes of a paid line

SITUATION = Situation(
    eligible=True,
    module_family="F",
    withdrawn_at=None,
    open_courses=frozenset(),
    open_families=frozenset(),
    passed_families=frozenset(),
)
PAID = PaidLine(LINE, COURSE, T0, T0)
LAST = T0 + REGULATIONS.activation_wait


def decided(at: datetime = T0, **changes) -> Decision:
    fields = {name: getattr(SITUATION, name) for name in Situation.__dataclass_fields__}
    return decide(PAID, Situation(**{**fields, **changes}), REGULATIONS, at)


def test_a_paid_line_of_an_eligible_learner_is_activated():
    assert decided() is Decision.ACTIVATE


def test_what_may_still_arrive_is_waited_for_but_not_for_ever():
    just_before = LAST - timedelta(microseconds=1)
    assert decided(just_before, eligible=False) is Decision.WAIT
    assert decided(LAST, eligible=False) is Decision.NOT_REGISTERED
    assert decided(just_before, module_family=None) is Decision.WAIT
    assert decided(LAST, module_family=None) is Decision.UNKNOWN_COURSE
    assert decided(just_before, open_courses={COURSE}) is Decision.WAIT
    assert decided(just_before, passed_families={"F"}) is Decision.WAIT


def test_a_course_withdrawn_by_the_instant_of_the_payment_is_refused():
    assert decided(withdrawn_at=T0) is Decision.COURSE_WITHDRAWN
    assert decided(withdrawn_at=T0 + timedelta(microseconds=1)) is Decision.ACTIVATE
    assert decided(withdrawn_at=T0, eligible=False) is Decision.COURSE_WITHDRAWN


def test_a_course_or_family_under_way_is_refused():
    assert decided(LAST, open_courses={COURSE}) is Decision.ALREADY_ENROLLED
    assert decided(LAST, open_families={"F"}) is Decision.ALREADY_ENROLLED
    assert decided(open_families={"G"}) is Decision.ACTIVATE


def test_a_passed_family_is_refused_as_such():
    assert decided(LAST, passed_families={"F"}, open_families={"F"}) is Decision.ALREADY_PASSED


def test_revoked_credit_is_no_pass():
    assert passed_families([CREDIT]) == {"F"}
    assert passed_families([REVOKED, CREDIT]) == frozenset()
    assert passed_families([REINSTATED, REVOKED, CREDIT]) == {"F"}
    again = fact(kinds.CreditRevoked, hours=80, subject=uid(5), credit_id=uid(5), reason_code="error")
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


@pytest.mark.parametrize("status", EnrolmentStatus)
def test_only_an_active_or_completed_enrolment_opens_the_materials(status):
    if status in {EnrolmentStatus.ACTIVE, EnrolmentStatus.COMPLETED}:
        must_open("materials", status, REGULATIONS)
    else:
        with pytest.raises(MaterialsClosed) as error:
            must_open("materials", status, REGULATIONS)
        assert error.value.code == "materials_closed"


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
    with pytest.raises(declarations.CriteriaNotAffirmed) as error:
        declarations.certify("2026.1", answers, T0)
    assert error.value.extras == {"not_affirmed": missing, "unknown": unknown}


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


@pytest.mark.parametrize(
    "name",
    [
        "Ada \u202elevaL\u202c",
        "A\u2066da",
        "A\u200bda",
        "A\u200dda",
        "A\u00adda",
        "A\u200fda",
        "\ufeffAda",
        "A\u3164da",
        "A\ufe0fda",
        "Ada\ue000",
        "Ada 95",
        "Ada \u0669\u0665",
        "Ada\u00b2",
    ],
)
@pytest.mark.parametrize("part", range(4))
def test_a_name_has_no_digits_and_nothing_that_cannot_be_seen(name, part):
    parts = [name if at == part else "Ada" for at in range(4)]
    with pytest.raises(learners.UnfitCharacter):
        learners.person_name(*parts)


@pytest.mark.parametrize(
    "name",
    [
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        "ක්\u200dරිස්ටි",
        "क्\u200dष",
        "O\u2019Brien-Smith",
        "Nuñez, Jr.",
        "〇三郎",
        "Zoe\u0308",
    ],
)
def test_a_name_has_what_its_script_needs(name):
    assert learners.person_name(name, None, None, name).certificate_name


@pytest.mark.parametrize(
    ("family", "given", "certificate"),
    [
        ("Okonkwo", "Adaeze", "Okonkwo Adaeze"),
        ("Okonkwo", "Adaeze", "OKONKWO, Adaeze"),
        ("Okonkwo", "Adaeze", "王小明"),
        ("王", "小明", "王小明"),
        ("Wang", "Xiaoming", "王小明 (Wang Xiaoming)"),
        ("O'Brien", None, "O\u2019Brien"),
        ("Okonkwo", "Adaeze", None),
    ],
)
def test_a_certificate_writes_the_name_in_any_order_or_script(family, given, certificate):
    learners.must_write_the_name(learners.person_name(family, given, None, certificate))


@pytest.mark.parametrize(
    ("family", "given", "certificate"),
    [
        ("Okonkwo", "Adaeze", "Prof Adaeze Okonkwo"),
        ("Okonkwo", "Adaeze", "Adaeze Okonkwo with Distinction"),
        ("Okonkwo", "Adaeze", "Ada Lovelace"),
        ("Okonkwo", "Adaeze", "Adaeze"),
        ("Okonkwo", "Adaeze", "\uff25\uff56\uff45 \uff2d\uff41\uff4c"),
        ("Okonkwo", "Adaeze", "王小明 (Eve Mallory)"),
        ("王", "小明", "李小明"),
    ],
)
def test_about_other_words_a_registrar_decides(family, given, certificate):
    with pytest.raises(learners.OtherCertificateName):
        learners.must_write_the_name(learners.person_name(family, given, None, certificate))
