"""The titles of a learner's totals are those that choosing the credit finds."""

from collections import Counter

import pytest
from hypothesis import given, settings

from credentials.domain import eligibility
from credentials.domain import regulations as regs
from credentials.domain.credit import Credit, countable
from credentials.domain.options import Award, options

from .test_options import EARLIER, IN_FORCE, build, case_credits, cases, credit_lists, small  # noqa: F401 - a fixture


def totals_of(held: list[Credit], regulations: regs.Regulations) -> eligibility.Totals:
    own, external = Counter(), Counter()
    for credit in countable(held, regulations).credits:
        (external if credit.external else own)[credit.subject] += 1
    return tuple((subject, own[subject], external[subject]) for subject in {*own, *external})


@pytest.mark.parametrize("version", [EARLIER, IN_FORCE])
@settings(max_examples=200, deadline=None)
@given(rows=credit_lists)
def test_totals_give_the_titles_that_choosing_credit_gives(version: str, rows: list[tuple]) -> None:
    held, regulations = build(rows), small(version)
    found = options(held, (), [regulations])
    for level in regulations.levels:
        given_by_totals = eligibility.titles(totals_of(held, regulations), level, regulations)
        assert set(given_by_totals) == {option.title for option in found[level.code]}


def test_awards_held_take_their_credit_and_their_title(cases: list[dict]) -> None:  # noqa: F811 - the fixture
    seen = 0
    for case in (case for case in cases if "prior_awards" in case):
        held = case_credits(case)
        by_family = {credit.family: credit.id for credit in held}
        awards = [
            Award("first", prior["level"], prior["title"], frozenset(by_family[code] for code in prior["modules"]))
            for prior in case["prior_awards"]
        ]
        for version, levels in case["expected"].items():
            found = eligibility.by_level(held, awards, [regs.find(version)])
            expected = {code: tuple(entry["title"] for entry in entries) for code, entries in levels.items()}
            assert found == expected, (case["id"], version)
            seen += 1
    assert seen == 4


def test_the_worked_cases_give_their_titles_in_their_order(cases: list[dict]) -> None:  # noqa: F811 - the fixture
    for case in cases:
        if "prior_awards" in case:
            continue
        for version, levels in case["expected"].items():
            regulations = regs.find(version)
            totals = totals_of(case_credits(case), regulations)
            for code, expected in levels.items():
                found = eligibility.titles(totals, regulations.level(code), regulations)
                assert list(found) == [entry["title"] for entry in expected], (case["id"], version, code)
