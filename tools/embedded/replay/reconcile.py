"""The reconciliation after a replay: a table of what must hold, each row with its differences, of which none may be."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from embedded.replay import deliveries
from embedded.replay.deliveries import Deliveries
from embedded.replay.facts import Facts, gather
from embedded.replay.mapping import Ending, Plan, mapping
from embedded.replay.oulad import PASSES
from embedded.replay.run import Replay
from embedded.replay.staff import COHORT_SECONDS

PATIENCE_SECONDS = 60.0
"""How long the effects of the last event may take."""
PAUSE_SECONDS = 2.0
"""Seconds between two tries; longer than the interval of jobs such as the signing of badges (every second)."""

COMPENSATION = "activation_impossible"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that must hold. `differences` names what does not fit, or counts it where it has no name."""

    what: str
    numbers: tuple[int, ...]
    """The numbers that are equal when it holds, side by side."""
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What must have come of the chosen learners, by the data set."""

    passes: int
    """Courses passed: every part of every module that a learner passed, once for each learner."""
    stackers: frozenset[int]
    """Learners who passed two modules."""
    withdrawn: frozenset[str]
    """Enrolments withdrawn from."""
    cooled_off: frozenset[str]
    refused: int
    tried_again: int


def expected(whole: Replay) -> Expected:
    passed = {learner: _modules_passed(made) for learner, made in whole.plans.items()}
    students = whole.students.values()
    return Expected(
        passes=sum(map(len, passed.values())) * len(mapping().parts),
        stackers=frozenset(learner for learner, modules in passed.items() if len(modules) > 1),
        withdrawn=frozenset(one for student in students for one in student.given_up),
        cooled_off=frozenset(one for student in students for one in student.cooled_off),
        refused=sum(student.refused for student in students),
        tried_again=sum(plan.ending is Ending.REFUSED for made in whole.plans.values() for plan in made),
    )


def _modules_passed(made: Iterable[Plan]) -> set[str]:
    return {plan.registration.module for plan in made if plan.registration.result in PASSES}


def rows(facts: Facts, wanted: Expected) -> list[Row]:
    """Return the rows that follow from the services' answers."""
    return [*_money(facts), *_studies(facts, wanted), *_results(facts, wanted), *_rebuilds(facts)]


def _money(facts: Facts) -> list[Row]:
    lines = [line.order_line_id for line in facts.lines]
    activated = [one.order_line_id for one in facts.enrolments]
    compensated = [line.order_line_id for line in facts.lines if line.refund_reason == COMPENSATION]
    kept = sum(line.due_minor - line.refund_minor for line in facts.lines)
    return [
        Row(
            "confirmed payments' lines = activations + recorded compensations",
            (len(lines), len(activated), len(compensated)),
            (*_apart(lines, [*activated, *compensated]), *(f"order {one} is not paid" for one in facts.unpaid_orders)),
        ),
        Row(
            "activations refused by enrolment = compensations recorded by payments",
            (len(facts.not_activated), len(compensated)),
            _apart(facts.not_activated, compensated),
        ),
        Row(
            "sales on the ledger = what was paid for the lines - what goes back (minor units)",
            (facts.sales_minor, kept),
            () if facts.sales_minor == kept else (f"{facts.sales_minor - kept}",),
        ),
        Row(
            f"sum of {facts.postings} ledger postings = 0",
            (facts.total_minor,),
            tuple(f"posting {one}" for one in facts.unbalanced),
        ),
    ]


def _studies(facts: Facts, wanted: Expected) -> list[Row]:
    cancelled = {
        reason: [one.enrolment_id for one in facts.enrolments if (one.status, one.reason_code) == ("cancelled", reason)]
        for reason in ("withdrawn", "refunded")
    }
    return [
        Row(
            "withdrawals asked for = enrolments cancelled as withdrawn",
            (len(wanted.withdrawn), len(cancelled["withdrawn"])),
            _apart(wanted.withdrawn, cancelled["withdrawn"]),
        ),
        Row(
            "cooling-off refunds asked for = enrolments cancelled as refunded",
            (len(wanted.cooled_off), len(cancelled["refunded"])),
            _apart(wanted.cooled_off, cancelled["refunded"]),
        ),
        Row(
            "courses passed before = purchases refused",
            (wanted.tried_again, wanted.refused),
            () if wanted.tried_again == wanted.refused else (f"{wanted.tried_again - wanted.refused}",),
        ),
    ]


def _results(facts: Facts, wanted: Expected) -> list[Row]:
    ours = {one.enrolment_id for one in facts.enrolments}
    outcomes = [one for one in facts.outcomes if one.enrolment_id in ours]
    passes = [one.enrolment_id for one in outcomes if one.state == "ratified" and one.passed]
    credits_ = list(facts.credits.values())
    attempts = Counter(one.enrolment_id for one in outcomes if one.state != "voided")
    most = max((one.attempt_no for one in outcomes), default=0)
    return [
        Row(
            "courses passed in the data = ratified passes = credits awarded = badges issued",
            (wanted.passes, len(passes), len(credits_), len(facts.badges)),
            (
                *(() if wanted.passes == len(passes) else (f"{wanted.passes - len(passes)} of the data",)),
                *_apart(passes, facts.credits),
                *_apart(credits_, facts.badges),
            ),
        ),
        Row(
            "credits = credits in the study records = badges in the study records",
            (len(credits_), len(facts.seen_credits), len(facts.seen_badges)),
            (*_apart(credits_, facts.seen_credits), *_apart(credits_, facts.seen_badges)),
        ),
        Row(
            "learners with two modules in the data = learners offered a title",
            (len(wanted.stackers), len(facts.stackers)),
            tuple(f"learner {one}" for one in sorted(wanted.stackers ^ facts.stackers)),
        ),
        Row(
            f"no enrolment above {facts.attempts_allowed} attempts; the most is",
            (max([most, *attempts.values()], default=0),),
            (
                *(one for one, count in attempts.items() if count > facts.attempts_allowed),
                *(one.enrolment_id for one in outcomes if one.attempt_no > facts.attempts_allowed),
            ),
        ),
        Row(
            "work handed in and not withdrawn = results ratified",
            (sum(attempts.values()), sum(one.state == "ratified" for one in outcomes)),
            tuple(one.enrolment_id for one in outcomes if one.state not in ("ratified", "voided")),
        ),
    ]


def _rebuilds(facts: Facts) -> list[Row]:
    return [
        Row(
            "study records equal to their rebuild",
            (facts.study_records, facts.study_records - len(facts.differing_study_records)),
            tuple(facts.differing_study_records),
        ),
        Row(
            "badges, titles and transcripts equal to what the ledger gives",
            (facts.credit_records, facts.credit_records - len(facts.differing_credit_records)),
            tuple(facts.differing_credit_records),
        ),
    ]


def delivered(found: Deliveries) -> list[Row]:
    """Return the rows about events."""
    return [
        Row("committed events = events sent", (found.events, found.events - len(found.unsent)), tuple(found.unsent)),
        Row(
            "events for every service that consumes them = events in its inbox",
            (found.hearings, found.handled),
            tuple(found.astray),
        ),
        Row("retries and dead letters", (found.waiting,), (str(found.waiting),) if found.waiting else ()),
    ]


def _apart(left: Iterable[str], right: Iterable[str]) -> tuple[str, ...]:
    """Return what is on one side only, or on one side more often."""
    ours, theirs = Counter(list(left)), Counter(list(right))
    return (*(ours - theirs).elements(), *(theirs - ours).elements())


async def reconcile(whole: Replay, platform: Path) -> bool:
    """Gather and compare until everything holds or time is up, and print the table. Returns whether it holds."""
    wanted = expected(whole)
    quiet = await _until_quiet(platform, whole.staff.institution_id)
    deadline = time.monotonic() + (COHORT_SECONDS if quiet is None else PATIENCE_SECONDS)
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        last = time.monotonic() > deadline  # checked before gathering, which may take longer, while events arrive
        found = await _until_quiet(platform, whole.staff.institution_id)
        table = rows(await gather(whole), wanted)
        if found is not None:
            table += delivered(found)
        if last or not any(row.differences for row in table):
            break
    print_table(table)
    if found is None:
        print("NOT CHECKED: whether every event was delivered once in effect. Its databases are not here.")
    return not any(row.differences for row in table)


async def _until_quiet(platform: Path, institution_id: str) -> Deliveries | None:
    """Return the deliveries once nothing is under way any more, or as they are when that takes too long."""
    deadline = time.monotonic() + COHORT_SECONDS
    while True:
        found = await deliveries.look(platform, institution_id)
        if found is None or not (found.unsent or found.astray or found.waiting) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(PAUSE_SECONDS)


def print_table(table: Iterable[Row]) -> None:
    listed = list(table)
    width = max(len(row.what) for row in listed)
    numbers = max(len(_side_by_side(row)) for row in listed)
    print(f"\n{'what must hold':<{width}}  {'numbers':>{numbers}}  differences")
    for row in listed:
        print(f"{row.what:<{width}}  {_side_by_side(row):>{numbers}}  {len(row.differences):>11}")
        for one in row.differences[:5]:
            print(f"    {one}")
    differences = sum(len(row.differences) for row in listed)
    print(
        "Everything reconciles: no differences.\n" if not differences else f"{differences} DIFFERENCES.\n", flush=True
    )


def _side_by_side(row: Row) -> str:
    return " | ".join(f"{number:,}" for number in row.numbers)
