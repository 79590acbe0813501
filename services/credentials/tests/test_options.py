"""Award options: the worked cases, every partition, and brute force."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credentials.domain import eligibility
from credentials.domain import regulations as regs
from credentials.domain.credit import Credit, CreditStatus, Source, countable
from credentials.domain.options import (
    Award,
    DifferentTitle,
    NotAvailable,
    Option,
    TitleAlreadyHeld,
    WrongSelection,
    options,
    select,
)
from credentials.domain.titles import title_of
from shared.regulations import UnknownRegulations

from .options import (
    EARLIER,
    IN_FORCE,
    build,
    case_awards,
    case_credits,
    case_titles,
    credit_lists,
    hold,
    small,
    subject_of,
)


def titles(held: list[Credit], level: str, version: str, awards: tuple[Award, ...] = ()) -> set[str]:
    return {option.title for option in options(held, awards, [regs.find(version)])[level]}


def option(held: list[Credit], title: str, version: str = IN_FORCE, awards: tuple[Award, ...] = ()) -> Option:
    found = options(held, awards, [regs.find(version)])
    return next(option for level in found.values() for option in level if option.title == title)


def test_every_worked_case_gives_exactly_its_titles(cases: list[dict]) -> None:
    for case in cases:
        held = case_credits(case)
        awards = case_awards(case, held)
        for version in (EARLIER, IN_FORCE):
            found = options(held, awards, [regs.find(version)])
            for level, expected in case_titles(case, version).items():
                got = [(option.title, option.rule) for option in found[level]]
                assert got == [(entry["title"], entry["rule"]) for entry in expected], (case["case"], version, level)
        for title, expected in case.get("supersedes", {}).items():
            superseded = {award.title for award in awards if award.id in option(held, title, awards=awards).supersedes}
            assert superseded == set(expected), case["case"]


def test_every_example_of_the_worked_cases_gives_its_title(cases: list[dict]) -> None:
    for case in cases:
        for version in (EARLIER, IN_FORCE):
            regulations = regs.find(version)
            for level, expected in case_titles(case, version).items():
                for entry in expected:
                    title = title_of(entry["from"], regulations.level(level), regulations)
                    assert (title.text, title.rule.rule) == (entry["title"], entry["rule"]), case["case"]


def partitions(total: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    if not total:
        yield ()
        return
    for first in range(min(total, largest or total), 0, -1):
        for rest in partitions(total - first, first):
            yield (first, *rest)


@pytest.mark.parametrize(("level", "modules", "count"), [("pgcert", 4, 5), ("pgdip", 8, 22), ("masters", 12, 77)])
def test_each_partition_has_exactly_one_title(level: str, modules: int, count: int) -> None:
    """Held exactly, a partition leaves no choice: the set of options is the title of the whole."""
    found = list(partitions(modules))
    assert len(found) == count
    for partition in found:
        names = [chr(ord("A") + n) for n in range(len(partition))]
        held = [credit for name, count in zip(names, partition, strict=True) for credit in hold(name, count)]
        for version in (EARLIER, IN_FORCE):
            expected = by_hand(partition, version)
            assert titles(held, level, version) == {f"{regs.find(version).level(level).label} in {expected}"}, partition


def by_hand(partition: tuple[int, ...], version: str) -> str:
    """The two tables of the regulations, written out separately from the data."""
    total, subjects, largest = sum(partition), len(partition), Fraction(partition[0], sum(partition))
    if subjects == 1:
        return "A"
    if version == IN_FORCE and largest > Fraction(3, 4):
        return "A"
    if subjects == 2 and largest == Fraction(1, 2):
        return "A and B"
    if subjects == 2 and (version == IN_FORCE or 4 * partition[0] == 3 * total):
        return "A with B"
    return "Interdisciplinary Studies"


def test_a1_four_of_one_subject() -> None:
    assert titles(hold("Data Science", 4), "pgcert", IN_FORCE) == {"PGCert in Data Science"}


def test_a2_three_and_two_leave_a_choice() -> None:
    held = hold("Data Science", 3) + hold("Management", 2)
    assert titles(held, "pgcert", IN_FORCE) == {
        "PGCert in Data Science with Management",
        "PGCert in Data Science and Management",
    }
    assert titles(held, "pgdip", IN_FORCE) == set()


def test_a3_two_one_one_is_interdisciplinary() -> None:
    held = hold("Data Science", 2) + hold("Management", 1) + hold("Law", 1)
    assert titles(held, "pgcert", IN_FORCE) == {"PGCert in Interdisciplinary Studies"}


def test_a4_six_and_two() -> None:
    held = hold("Data Science", 6) + hold("Management", 2)
    assert titles(held, "pgdip", IN_FORCE) == {"PGDip in Data Science with Management"}


@pytest.mark.parametrize(
    ("version", "subject"),
    [(EARLIER, "Interdisciplinary Studies"), (IN_FORCE, "Data Science with Management")],
)
def test_a5_and_a6_depend_on_the_version(version: str, subject: str) -> None:
    assert titles(hold("Data Science", 5) + hold("Management", 3), "pgdip", version) == {f"PGDip in {subject}"}
    assert titles(hold("Data Science", 8) + hold("Management", 4), "masters", version) == {
        f"Master's degree in {subject}"
    }


def test_a7_the_default_takes_the_best_marks() -> None:
    chosen = option(hold("Data Science", 5, (72, 70, 69, 68, 51)), "PGCert in Data Science")
    assert [credit.mark for credit in chosen.selection] == [72, 70, 69, 68]
    assert chosen.classification.mean == Fraction("69.75")
    assert (chosen.classification.mark, chosen.classification.label) == (70, "Distinction")
    assert [credit.mark for credit in chosen.left] == [51]


def test_a9_a_higher_award_takes_up_a_lower_one() -> None:
    science, management = hold("Data Science", 4), hold("Management", 4)
    award = Award("first", "pgcert", 60, "PGCert in Data Science", frozenset(credit.id for credit in science))
    assert titles(science + management, "pgcert", IN_FORCE, (award,)) == {"PGCert in Management"}
    assert titles(science + management, "pgdip", IN_FORCE, (award,)) == {"PGDip in Data Science and Management"}
    assert option(science + management, "PGDip in Data Science and Management", awards=(award,)).supersedes == (
        "first",
    )


def test_an_award_at_a_level_that_is_offered_no_more_keeps_its_credit() -> None:
    """It is as high as its credits say, whatever levels the version has."""
    regulations = regs.find(IN_FORCE)
    levels = [level for level in regulations.levels if level.code != "pgdip"]
    without = replace(regulations, levels=tuple(replace(level, rank=rank) for rank, level in enumerate(levels)))
    held = hold("Data Science", 12)
    award = Award("first", "pgdip", 120, "PGDip in Data Science", frozenset(credit.id for credit in held[:8]))
    found = options(held, (award,), [without])
    assert {code: [option.supersedes for option in of_level] for code, of_level in found.items()} == {
        "pgcert": [()],
        "masters": [("first",)],
    }
    assert {code: bool(titles) for code, titles in eligibility.by_level(held, (award,), [without]).items()} == {
        "pgcert": True,
        "masters": True,
    }


def test_equal_marks_take_the_earliest_passes() -> None:
    chosen = option(hold("Data Science", 5, (60,) * 5), "PGCert in Data Science")
    assert [credit.id for credit in chosen.left] == ["Data Science-05"]


def test_a_family_counts_once_with_its_best_mark() -> None:
    first, again = hold("Law", 1, (55,))[0], hold("Law", 1, (71,), id="again")[0]
    counted = countable([first, again], regs.find(IN_FORCE))
    assert [credit.id for credit in counted.credits] == ["again"]
    assert counted.left_out == {first.id: "repeated"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": CreditStatus.PROVISIONAL}, "provisional"),
        ({"status": CreditStatus.REVOKED}, "revoked"),
        ({"status": CreditStatus.CONSUMED}, "consumed"),
        ({"level": 6}, "level"),
        ({"subject": None}, "no_subject"),
        ({"credits": 30}, "size"),
    ],
)
def test_what_may_not_count_says_why(changes: dict, reason: str) -> None:
    credit = replace(hold("Law", 1)[0], **changes)
    assert countable([credit], regs.find(IN_FORCE)).left_out == {credit.id: reason}


def test_external_credit_counts_for_the_award_and_not_for_the_class() -> None:
    held = hold("Law", 2, (70, 69)) + hold("Law", 2, id="x1", family="x1", source=Source.EXTERNAL)[:1]
    held += hold("Law", 1, id="x2", family="x2", source=Source.EXTERNAL)
    chosen = option(held, "PGCert in Law")
    assert chosen.classification.mean == Fraction("69.5")
    assert chosen.classification.label == "Distinction"


def test_too_few_marks_leave_an_award_unclassified() -> None:
    chosen = option(hold("Law", 4, (80,)), "PGCert in Law")
    assert chosen.classification.mark is None
    assert chosen.classification.label == "Unclassified"


def test_half_a_mark_rounds_up() -> None:
    assert option(hold("Law", 4, (60, 60, 59, 59)), "PGCert in Law").classification.label == "Merit"
    assert option(hold("Law", 4, (60, 60, 59, 58)), "PGCert in Law").classification.label == "Pass"


def test_the_better_of_two_versions() -> None:
    """Pinned rules and those in force both count; the ones in force are named where both give a title."""
    held = hold("Data Science", 5) + hold("Management", 3)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert [version.version for version in regs.claimable(frozenset(), now)] == [IN_FORCE]
    versions = regs.claimable(frozenset({EARLIER}), now)
    found = options(held, (), versions)
    assert {(option.title, option.regulations) for option in found["pgdip"]} == {
        ("PGDip in Data Science with Management", IN_FORCE),
        ("PGDip in Interdisciplinary Studies", EARLIER),
    }
    joint = next(option for option in found["pgcert"] if option.rule == "joint")
    assert (joint.regulations, joint.also_under) == (IN_FORCE, (EARLIER,))


def test_the_version_in_force_follows_its_date() -> None:
    assert regs.in_force(datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC)).version == EARLIER
    assert regs.in_force(datetime(2026, 9, 1, tzinfo=UTC)).version == IN_FORCE
    with pytest.raises(UnknownRegulations):
        regs.in_force(datetime(2025, 1, 1, tzinfo=UTC))


def test_a_learner_may_choose_the_credit() -> None:
    held = hold("Law", 5, (72, 70, 69, 68, 51))
    regulations = regs.find(IN_FORCE)
    level = regulations.level("pgcert")
    chosen = select([credit.id for credit in held[1:]], level, held, (), regulations)
    assert (chosen.title, chosen.classification.label) == ("PGCert in Law", "Merit")
    with pytest.raises(WrongSelection):
        select([credit.id for credit in held], level, held, (), regulations)
    with pytest.raises(WrongSelection):
        select([held[0].id] * 4, level, held, (), regulations)
    with pytest.raises(NotAvailable):
        select(["another's"], level, held, (), regulations)
    award = Award("first", "pgcert", 60, "PGCert in Law", frozenset())
    with pytest.raises(TitleAlreadyHeld):
        select([credit.id for credit in held[:4]], level, held, (award,), regulations)
    assert DifferentTitle("").status == 422


def test_regulations_that_cannot_decide_are_refused() -> None:
    document = json.loads((Path(regs.__file__).parents[1] / "regulations" / f"{IN_FORCE}.json").read_text())
    without_end = document | {"title_rules": document["title_rules"][:-1]}
    with pytest.raises(ValueError, match="what is left"):
        regs.parse(without_end)
    rule = {"rule": "some", "named": 1, "template": "{0}", "reason": "Why", "largest_share": {"over": "1/4"}}
    with pytest.raises(ValueError, match="which subject"):
        regs.parse(document | {"title_rules": [rule, *document["title_rules"]]})


# Brute force: every subset of the credits, one by one.


def brute_force(held: list[Credit], level: regs.Level, regulations: regs.Regulations) -> dict[str, Decimal]:
    """Title -> the greatest sum of marks any selection for it has."""
    best: dict[str, Decimal] = {}
    for chosen in combinations(held, level.credits // 15):
        if sum(credit.external for credit in chosen) * 15 > level.credits / 2:
            continue
        text = title_of(Counter(map(subject_of, chosen)), level, regulations).text
        weight = sum((credit.weight for credit in chosen), Decimal(0))
        best[text] = max(best.get(text, Decimal(0)), weight)
    return best


@pytest.mark.parametrize("version", [EARLIER, IN_FORCE])
@settings(max_examples=150, deadline=None)
@given(rows=credit_lists)
def test_options_are_what_trying_every_selection_finds(version: str, rows: list[tuple]) -> None:
    held, regulations = build(rows), small(version)
    found = options(held, (), [regulations])
    for level in regulations.levels:
        expected = brute_force(held, level, regulations)
        got = {
            option.title: sum((credit.weight for credit in option.selection), Decimal(0))
            for option in found[level.code]
        }
        assert got == expected
        for option in found[level.code]:
            again = select([credit.id for credit in option.selection], level, held, (), regulations)
            assert (again.title, again.rule) == (option.title, option.rule)
            assert set(option.left) | set(option.selection) == set(held)


@settings(max_examples=60, deadline=None)
@given(rows=credit_lists, data=st.data())
def test_neither_order_nor_ids_change_the_options(rows: list[tuple], data: st.DataObject) -> None:
    held = build(rows)
    shuffled = data.draw(st.permutations(held))
    assert options(held, (), [regs.find(IN_FORCE)]) == options(shuffled, (), [regs.find(IN_FORCE)])
    renamed = [Credit(**{**vars(credit), "id": f"z{credit.id}"}) for credit in held]
    for level in ("pgcert", "pgdip", "masters"):
        assert titles(held, level, IN_FORCE) == titles(renamed, level, IN_FORCE)
