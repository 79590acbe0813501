"""The titles of a learner's totals are those that choosing the credit finds."""

from collections import Counter

import pytest
from hypothesis import given, settings

from credentials.domain import eligibility
from credentials.domain import regulations as regs
from credentials.domain.credit import Credit, countable
from credentials.domain.options import options

from .options import EARLIER, IN_FORCE, build, case_awards, case_credits, case_titles, credit_lists, small


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


def titles_of_case(case: dict, version: str) -> dict[str, tuple[str, ...]]:
    return {level: tuple(entry["title"] for entry in found) for level, found in case_titles(case, version).items()}


@pytest.mark.parametrize("version", [EARLIER, IN_FORCE])
def test_awards_held_take_their_credit_and_their_title(cases: list[dict], version: str) -> None:
    awarded = [case for case in cases if "awarded" in case]
    assert awarded
    for case in awarded:
        held = case_credits(case)
        found = eligibility.by_level(held, case_awards(case, held), [regs.find(version)])
        assert found == titles_of_case(case, version), case["case"]


@pytest.mark.parametrize("version", [EARLIER, IN_FORCE])
def test_the_worked_cases_give_their_titles_in_their_order(cases: list[dict], version: str) -> None:
    regulations = regs.find(version)
    for case in (case for case in cases if "awarded" not in case):
        totals = totals_of(case_credits(case), regulations)
        for code, expected in titles_of_case(case, version).items():
            found = eligibility.titles(totals, regulations.level(code), regulations)
            assert tuple(found) == expected, (case["case"], code)
