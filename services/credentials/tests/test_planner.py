"""The ways to a title, against trying every selection; what is missing, in numbers and words."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credentials.domain import regulations as regs
from credentials.domain.credit import Credit, CreditStatus, Source
from credentials.domain.forecasts import forecast, left_out
from credentials.domain.options import Award
from credentials.domain.planner import Course, cheapest, fewest, naming, plans, quickest
from credentials.domain.titles import title_of

from .options import EARLIER, IN_FORCE, build, hold, small, subject_of

DS, MG, LAW = "Data Science", "Management", "Law"


def sell(subject: str, count: int, price: int = 49500, weeks: int = 10, **changes: Any) -> list[Course]:
    found = []
    for n in range(1, count + 1):
        fields: dict[str, Any] = {
            "id": f"buy {subject} {n}",
            "family": f"buy {subject} {n}",
            "subject": subject,
            "credits": 15,
            "level": 7,
            "price_minor": price,
            "weeks": weeks,
        }
        found.append(Course(**(fields | changes)))
    return found


def way(title: str, held: list[Credit], courses: list[Course], objective=cheapest, awards=(), version=IN_FORCE):
    found = plans(held, awards, courses, ["pgcert", "pgdip", "masters"], [regs.find(version)], objective)
    return next((plan for plan in found if plan.title == title), None)


def test_a14_twelve_courses_from_nothing_cost_twelve_prices() -> None:
    plan = way("Master's degree in Data Science", [], sell(DS, 12))
    assert (plan.price_minor, len(plan.to_buy), plan.weeks_in_turn, plan.weeks_at_once) == (594000, 12, 120, 10)


def test_what_is_held_costs_nothing_and_what_is_studied_costs_no_money() -> None:
    studying = sell(DS, 1, 0, 10, id="studying", family="studying", enrolled=True)
    plan = way(f"PGCert in {DS}", hold(DS, 2), [*studying, *sell(DS, 3)])
    assert (len(plan.earned), len(plan.enrolled), len(plan.to_buy), plan.price_minor) == (2, 1, 1, 49500)
    assert plan.weeks_in_turn == 20


def test_the_cheapest_and_the_quickest_way_may_differ() -> None:
    courses = sell(DS, 1, 10000, 20, id="slow", family="slow") + sell(DS, 1, 90000, 5, id="dear", family="dear")
    by_price, by_time = (way(f"PGCert in {DS}", hold(DS, 3), courses, one) for one in (cheapest, quickest))
    assert [course.id for course in by_price.to_buy] == ["slow"]
    assert [course.id for course in by_time.to_buy] == ["dear"]


def test_a_module_is_not_bought_twice() -> None:
    again = sell(DS, 1, family=f"{DS}-01")
    assert way(f"PGCert in {DS}", hold(DS, 3), again) is None
    two_versions = sell(DS, 2, family="same")
    assert way(f"PGCert in {DS}", hold(DS, 2), two_versions) is None


def test_revoked_credit_can_be_earned_again() -> None:
    held = hold(DS, 3) + hold(DS, 1, id="gone", family="gone", status=CreditStatus.REVOKED)
    plan = way(f"PGCert in {DS}", held, sell(DS, 1, family="gone"))
    assert plan.price_minor == 49500


def test_courses_that_cannot_count_are_not_planned() -> None:
    assert way(f"PGCert in {DS}", hold(DS, 3), sell(DS, 1, level=6) + sell(DS, 1, credits=30)) is None


def test_a_title_held_is_not_planned_again_but_a_higher_one_is() -> None:
    held = hold(DS, 4)
    award = Award("first", "pgcert", 60, f"PGCert in {DS}", frozenset(credit.id for credit in held))
    assert way(f"PGCert in {DS}", held, sell(DS, 8), awards=(award,)) is None
    assert way(f"PGDip in {DS}", held, sell(DS, 8), awards=(award,)).price_minor == 4 * 49500


def test_credit_from_elsewhere_beyond_the_ceiling_is_replaced_by_the_cheapest_course() -> None:
    external = hold(DS, 3, source=Source.EXTERNAL)
    plan = way(f"PGCert in {DS}", external, sell(DS, 3, 49500) + sell(DS, 1, 30000, id="cheap", family="cheap"))
    assert (sum(credit.external for credit in plan.earned), plan.price_minor) == (2, 30000 + 49500)


def test_titles_can_be_wanted_by_their_subjects() -> None:
    found = plans([], (), sell(DS, 8) + sell(MG, 8), ["pgcert"], [regs.find(IN_FORCE)], cheapest, naming({DS, MG}))
    assert {plan.title for plan in found} == {
        f"PGCert in {DS} and {MG}",
        f"PGCert in {DS} with {MG}",
        f"PGCert in {MG} with {DS}",
    }


def test_the_better_of_two_versions_is_planned() -> None:
    versions = [regs.find(IN_FORCE), regs.find(EARLIER)]
    found = plans(hold(DS, 5), (), sell(MG, 3), ["pgdip"], versions, cheapest)
    assert {plan.title: plan.regulations for plan in found} == {
        f"PGDip in {DS} with {MG}": IN_FORCE,
        "PGDip in Interdisciplinary Studies": EARLIER,
    }


sold = st.lists(
    st.tuples(
        st.sampled_from([DS, "eHealth", LAW]), st.integers(0, 4), st.integers(1, 4), st.booleans(), st.booleans()
    ),
    max_size=6,
)
holdings = st.lists(
    st.tuples(st.sampled_from([DS, "eHealth", LAW]), st.just(60), st.booleans(), st.just(0)), max_size=6
)


def offered(rows: list[tuple]) -> list[Course]:
    return [
        Course(f"b{n}", f"b{n}", subject, 15, 7, 0 if enrolled else price, weeks, enrolled, on_sale)
        for n, (subject, price, weeks, enrolled, on_sale) in enumerate(rows)
    ]


@pytest.mark.parametrize("version", [EARLIER, IN_FORCE])
@pytest.mark.parametrize("objective", [cheapest, quickest, fewest])
@settings(max_examples=80, deadline=None)
@given(held_rows=holdings, sold_rows=sold)
def test_no_other_selection_is_better(version: str, objective, held_rows: list[tuple], sold_rows: list[tuple]) -> None:
    held, courses, regulations = build(held_rows), offered(sold_rows), small(version)
    items = [
        (subject_of(credit), credit.external, (0,) * len(objective(Course("", "", "", 0, 0, 0, 0)))) for credit in held
    ]
    items += [(course.subject, False, objective(course)) for course in courses]
    for level in regulations.levels:
        expected: dict[str, tuple] = {}
        for chosen in combinations(items, level.credits // 15):
            if sum(external for _, external, _ in chosen) * 15 > level.credits / 2:
                continue
            text = title_of(Counter(subject for subject, _, _ in chosen), level, regulations).text
            total = tuple(map(sum, zip(*(cost for *_, cost in chosen), strict=True)))
            expected[text] = min(expected.get(text, total), total)
        got = {}
        for plan in plans(held, (), courses, [level.code], [regulations], objective):
            added = [objective(course) for course in (*plan.enrolled, *plan.to_buy)]
            nothing = (0,) * len(objective(Course("", "", "", 0, 0, 0, 0)))
            got[plan.title] = tuple(map(sum, zip(nothing, *added, strict=True)))
            assert sum(credit.external for credit in plan.earned) * 15 <= level.credits / 2
            assert len(plan.earned) + len(added) == level.credits // 15
        assert got == expected


def look(held: list[Credit], courses: list[Course] = [], level: str = "pgcert", awards=(), **body):  # noqa: B006
    regulations = regs.find(IN_FORCE)
    return forecast(regulations.level(level), held, awards, courses, [regulations], most=5, **body)


def test_a_near_miss_names_the_cheapest_next_step() -> None:
    seen = look(hold(DS, 3), sell(MG, 1) + sell(DS, 1, 60000))
    assert (seen.counting, seen.missing, seen.open_titles) == (45, 15, ())
    assert seen.words == "You have 45 of the 60 credits of a PGCert: 15 are missing."
    first = seen.nearest[0]
    assert first.words == f"15 more credits in {MG} would give PGCert in {DS} with {MG}."
    assert (first.missing, first.plan.price_minor) == ({MG: 15}, 49500)


def test_what_is_missing_is_named_where_nobody_sells_it() -> None:
    seen = look(hold(DS, 3), title=f"PGCert in {DS}")
    (near,) = seen.nearest
    assert near.missing == {DS: 15}
    assert not near.plan.to_buy[0].on_sale


def test_a_wanted_title_that_is_open_says_so() -> None:
    (near,) = look(hold(DS, 4), title=f"PGCert in {DS}").nearest
    assert near.words == f"Your credit gives PGCert in {DS}."
    assert look(hold(DS, 4)).open_titles == (f"PGCert in {DS}",)


def test_passing_what_is_studied_may_be_enough() -> None:
    studying = sell(DS, 1, 0, enrolled=True)
    near = look(hold(DS, 3), studying).nearest[0]
    assert near.words == f"Passing what you study now would give PGCert in {DS}."


def test_the_ceiling_on_credit_from_elsewhere_is_stated() -> None:
    seen = look(hold(DS, 1) + hold(MG, 3, source=Source.EXTERNAL))
    assert (seen.counting, seen.missing, seen.external, seen.external_at_most) == (45, 15, 45, 30)
    assert "Of your 45 credits from elsewhere at most 30 can count." in seen.words
    assert look(hold(DS, 4) + hold(MG, 2, source=Source.EXTERNAL), level="pgdip").counting == 90


def test_credit_under_an_award_is_used_at_its_level_and_not_above() -> None:
    held = hold(DS, 4)
    award = Award("first", "pgcert", 60, f"PGCert in {DS}", frozenset(credit.id for credit in held))
    seen = look(held, awards=(award,))
    assert (seen.counting, seen.held_titles, len(seen.used)) == (0, (f"PGCert in {DS}",), 4)
    assert {one.words for one in seen.used} == {"An award at this level or above already stands on it."}
    assert look(held, level="pgdip", awards=(award,)).counting == 60


def test_each_credit_that_does_not_count_says_why() -> None:
    held = [
        *hold(DS, 1, (55,)),
        *hold(DS, 1, (70,), id="again"),
        *hold(LAW, 1, status=CreditStatus.REVOKED),
        *hold("Art", 1, status=CreditStatus.COMMITTED),
        *hold("Bee", 1, status=CreditStatus.CONSUMED),
        *hold("Cat", 1, level=6),
        replace(hold("Dog", 1)[0], subject=None),
    ]
    found = {one.credit_id: one.reason for one in left_out(held, regs.find(IN_FORCE), on_hold=False)}
    assert found == {
        "Data Science-01": "repeated",
        "Law-01": "revoked",
        "Art-01": "committed",
        "Bee-01": "consumed",
        "Cat-01": "level",
        "Dog-01": "no_subject",
    }
    assert all(one.words for one in left_out(held, regs.find(IN_FORCE), on_hold=True))
    on_hold = {one.credit_id: one.reason for one in left_out(held, regs.find(IN_FORCE), on_hold=True)}
    assert on_hold == {"again": "on_hold"} | found
