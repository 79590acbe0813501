"""Events shuffled and repeated, on a real database: the study record is always the same, and equal to its rebuild."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrolment import queries
from shared.events import Event
from shared.events.credentials import (
    AwardClaimed,
    AwardConferred,
    AwardEligibilityChanged,
    BadgeIssued,
    BadgeRevoked,
    TitlesChanged,
)
from shared.ids import new_id
from shared.testing.services import FrozenClock


@dataclass(frozen=True)
class Step:
    """An event, and the paid line whose enrolment must exist before anybody could announce it."""

    make: Callable[[dict], Event]
    line: int | None = None


def plot(driver, courses):
    """Four courses: one passed at the second attempt, one failed for good, one refunded, one whose money was lost."""
    paid = driver.payment(*courses[:3])
    lost = driver.reversal(paid_alone := driver.payment(courses[3]))
    held = {}

    def once(name, make):
        def build(enrolments):
            if name not in held:
                held[name] = make(enrolments)
            return held[name]

        return build

    def submission(line, attempt_no, days):
        name = f"submission {line} {attempt_no}"
        return once(name, lambda e: driver.submission(e[line], attempt_no, paid.confirmed_at + timedelta(days=days)))

    def outcome(line, attempt_no, days, mark):
        submit = submission(line, attempt_no, days)
        return once(f"result {line} {attempt_no}", lambda e: driver.result(e[line], submit(e), mark))

    credit = once("credit", lambda e: driver.credit(e[0], submission(0, 2, 40)(e).submission_id, "50"))
    badge = once(
        "badge",
        lambda e: BadgeIssued(
            badge_id=new_id(),
            learner_id=driver.learner_id,
            credit_id=credit(e).credit_id,
            course_id=credit(e).course_id,
            credential_url="https://x.example/1",
            issued_at=credit(e).ratified_at,
        ),
    )
    award = once(
        "award",
        lambda e: AwardClaimed(
            award_id=new_id(),
            learner_id=driver.learner_id,
            level="pgcert",
            title="PGCert in Data Science",
            rule="single",
            credit_ids=(credit(e).credit_id,),
            regulations_version="mc-regs-2026.2",
            claimed_at=credit(e).ratified_at,
        ),
    )

    def eligible(sequence, added, removed):
        return lambda _: AwardEligibilityChanged(
            learner_id=driver.learner_id,
            sequence=sequence,
            levels=(TitlesChanged(level="pgcert", titles_added=added, titles_removed=removed),),
            changed_at=paid.confirmed_at + timedelta(days=sequence),
        )

    refund = driver.refund(paid, 2)
    return (
        paid,
        paid_alone,
        [
            Step(lambda _: paid),
            Step(lambda _: paid_alone),
            Step(lambda _: lost),
            Step(lambda _: driver.settlement(paid_alone, lost.reversed_at - timedelta(hours=1))),
            Step(lambda _: refund),
            Step(submission(0, 1, 10), 0),
            Step(outcome(0, 1, 10, "38"), 0),
            Step(submission(0, 2, 40), 0),
            Step(outcome(0, 2, 40, "74"), 0),
            Step(credit, 0),
            Step(badge, 0),
            Step(
                once(
                    "badge gone",
                    lambda e: BadgeRevoked(
                        badge_id=badge(e).badge_id,
                        learner_id=driver.learner_id,
                        reason_code="error",
                        revoked_at=badge(e).issued_at + timedelta(days=1),
                    ),
                ),
                0,
            ),
            Step(award, 0),
            Step(
                once(
                    "conferred",
                    lambda e: AwardConferred(
                        award_id=award(e).award_id,
                        learner_id=driver.learner_id,
                        level="pgcert",
                        title="PGCert in Data Science",
                        credit_ids=award(e).credit_ids,
                        classification="Pass",
                        certificate_number="N1",
                        conferred_at=award(e).claimed_at + timedelta(days=1),
                    ),
                ),
                0,
            ),
            Step(eligible(1, ("A",), ()), None),
            Step(eligible(2, ("B",), ("A",)), None),
            Step(submission(1, 1, 10), 1),
            Step(outcome(1, 1, 10, "12"), 1),
            Step(once("exhausted", lambda e: driver.exhausted(e[1])), 1),
        ],
    )


async def handled(driver, courses, order) -> dict:
    """Handle the plot in that order (what hangs on an enrolment right after its payment at the earliest)."""
    await driver.register()
    paid, paid_alone, steps = plot(driver, courses)
    lines = {0: paid.lines[0], 1: paid.lines[1], 2: paid.lines[2], 3: paid_alone.lines[0]}
    enrolments, later = {}, []
    for index in order:
        step = steps[index]
        if step.line is not None and step.line not in enrolments:
            later.append(step)
            continue
        await driver.consume(step.make(enrolments))
        if index in {0, 1}:
            for number, line in lines.items():
                if index == (1 if number == 3 else 0) and number not in enrolments:
                    enrolments[number] = await driver.enrolment(line.order_line_id)
            for waiting in [one for one in later if one.line in enrolments]:
                later.remove(waiting)
                await driver.consume(waiting.make(enrolments))
    assert later == []
    await driver.assert_record_stands()
    return plain(await queries.read_study_record(driver.session, driver.learner_id))


def plain(record) -> dict:
    """The record without the ids that differ from run to run."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(one) for key, one in value.items() if not key.endswith(("_id", "_ids"))}
        if isinstance(value, (list, tuple)):
            return [strip(one) for one in value]
        return value

    stripped = strip(asdict(record))
    stripped["enrolments"].sort(key=lambda one: one["course"]["code"])
    return stripped


STEPS = 19


in_order: dict = {}
"""The record as it is when everything arrives in the order it happened."""


async def run(service, new_driver, order) -> dict:
    async with service.rolled_back() as session:
        driver = new_driver(session)
        courses = [await driver.offer(module_family=f"7DS50{number}") for number in range(4)]
        return await handled(driver, courses, order)


@given(st.permutations(range(STEPS)), st.lists(st.integers(0, STEPS - 1), max_size=STEPS))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_any_order_and_any_repetition_ends_in_the_same_record(service, new_driver, order, again):
    service.clock.at = FrozenClock().at
    if not in_order:
        in_order.update(await run(service, new_driver, list(range(STEPS))))
    expected = in_order
    assert [one["status"] for one in expected["enrolments"]] == ["completed", "failed", "cancelled", "suspended"]
    assert await run(service, new_driver, [*order, *again]) == expected


async def test_the_plot_has_all_its_steps(driver):
    courses = [await driver.offer() for _ in range(4)]
    assert len(plot(driver, courses)[2]) == STEPS
