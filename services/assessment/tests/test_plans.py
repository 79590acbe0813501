"""What lists, the marking queue and jobs read depends on the page, not on how much was ever handed in."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from embedded.postgres import Postgres
from shared.testing.odd_rows import odd_row_failures
from shared.testing.plans import Ask, Planned, Table, at, planned_service, someone, uuid_of
from shared.testing.services import BuildService

ATTEMPTS, WINDOWS = 20_000, 300
WAITING, MARKED, RELEASED = 300, 700, 700
"""Of the last window that has closed; all before are ratified. In the window that is open 1,000 wait as well."""
OPEN = ATTEMPTS - 1_000
JUST = OPEN - WAITING - MARKED - RELEASED
LAST = WINDOWS - 2


def state(n: int) -> str:
    if n < JUST:
        return "ratified"
    if n < JUST + RELEASED:
        return "released"
    return "marked" if n < JUST + RELEASED + MARKED else "submitted"


def window(n: int) -> UUID:
    return uuid_of("window_id", LAST + 1 if n >= OPEN else LAST if n >= JUST else n % LAST)


def when(*states: str, then: object) -> Callable[[int], object]:
    return lambda n: then if state(n) in states else None


MARKER, EXAMINER = uuid_of("marker", 1), uuid_of("examin", 1)
JUDGED = ("marked", "released", "ratified")

TABLES = {
    "windows": Table(
        {
            "opens_at": lambda n: at(days=-1 - 30 * (LAST + 1 - n)),
            "closes_at": lambda n: at(days=6 - 30 * (LAST + 1 - n)),
            "grace_seconds": 0,
            "opened_at": at(days=-1),
            "closed_at": lambda n: at(days=-1) if n <= LAST else None,
        },
        rows=WINDOWS,
    ),
    "enrolments": Table({"regulations_version": "mc-regs-2026.2"}),
    "briefs": Table({"criteria": [], "word_limit": 3000}),
    "attempts": Table(
        {
            "window_id": window,
            "state": state,
            "raw_mark": when(*JUDGED, then=60),
            "mark": when(*JUDGED, then=60),
            "passed": when(*JUDGED, then=True),
            "capped": when(*JUDGED, then=False),
            "feedback": "",
            "marked_at": when(*JUDGED, then=at(days=-20)),
            "released_at": when("released", "ratified", then=at(days=-10)),
            "ratified_at": when("ratified", then=at(days=-5)),
            "board_id": lambda n: uuid_of("board_id", n % 300) if state(n) == "ratified" else None,
        }
    ),
    "submissions": Table(
        {
            "attempt_id": lambda n: uuid_of("attempt_id", n),
            "enrolment_id": lambda n: uuid_of("enrolment_id", n if n > 100 else 0),
            "window_id": window,
            "state": "current",
            "kind": "pdf",
            "received_at": lambda n: at(days=-40, seconds=n),
            "awaits_mark": lambda n: state(n) == "submitted",
        }
    ),
    "boards": Table(
        {
            "under_way": lambda n: n == 299,
            "window_id": uuid_of("window_id", LAST),
            "decided_by": str(EXAMINER),
        },
        rows=300,
    ),
    "releases": Table(
        {
            "under_way": lambda n: n == 299,
            "window_id": uuid_of("window_id", LAST),
            "expected": MARKED,
            "released_by": str(EXAMINER),
            "requested_at": at(days=-1),
        },
        rows=300,
    ),
    "marks": Table({"marked_by": str(MARKER)}, rows=OPEN - WAITING),  # what waits has none
    "credits": Table({"module_family": lambda n: f"DS{n}"}),
    "misconduct_cases": Table(
        {
            column: (lambda n, value=value: None if n >= ATTEMPTS - 100 else value)
            for column, value in {
                "outcome": "no_case",
                "minutes_reference": "AP/1",
                "decided_by": "panel",
                "decided_at": at(days=-1),
            }.items()
        }
    ),
}


@pytest.fixture(scope="module")
async def planned(planned_server: Postgres, build_service: BuildService) -> AsyncIterator[Planned]:
    async with planned_service(build_service, planned_server, TABLES, rows=ATTEMPTS) as planned:
        yield planned


MARKING, EXAMINING = someone("marker", id=MARKER), someone("examiner", id=EXAMINER)
CLOSED = uuid_of("window_id", LAST)
ENROLMENT = uuid_of("enrolment_id", 0)
LEARNER = someone("learner", id=uuid_of("learner_id", 0))

LISTS = {
    "list_windows": [
        Ask("/v1/windows", full=False),
        Ask("/v1/windows?state=closed"),
        Ask("/v1/windows?state=upcoming", full=False),
    ],
    "list_marking_queue": [
        Ask("/v1/marking-queue", MARKING),
        Ask(f"/v1/marking-queue?window_id={CLOSED}", MARKING),
    ],
    "list_results": [
        Ask(f"/v1/windows/{CLOSED}/results", EXAMINING),
        Ask(f"/v1/windows/{CLOSED}/results?state=submitted", EXAMINING),
        Ask(f"/v1/windows/{CLOSED}/results?state=voided", EXAMINING, full=False),
        # A state that most work has, and none of this window: the work of the window is read, and no more.
        Ask(f"/v1/windows/{CLOSED}/results?state=ratified", EXAMINING, full=False, rows=2_000),
    ],
    "list_misconduct_cases": [
        Ask("/v1/misconduct-cases", EXAMINING),
        Ask("/v1/misconduct-cases?open=true", EXAMINING),
        Ask("/v1/misconduct-cases?open=false", EXAMINING),
    ],
    "list_submissions": [Ask(f"/v1/assessments/{ENROLMENT}/submissions", LEARNER)],
    "read_assessment": [Ask(f"/v1/assessments/{ENROLMENT}", LEARNER, full=False)],
    "read_board": [Ask(f"/v1/boards/{uuid_of('board_id', 299)}", EXAMINING, full=False)],
    "read_release": [Ask(f"/v1/releases/{uuid_of('release_id', 299)}", EXAMINING, full=False)],
}

JOBS = {
    "publish_windows": 1,
    "announce_windows": 2,
    "release_results": 10,
    "ratify_results": 10,
    "claim_store": 0,
    "remove_orphans": 0,
    "retry_orphans": 1,
    "check_files": 1,
}


async def test_a_list_reads_its_page(planned: Planned) -> None:
    wrong = await planned.lists(LISTS)
    assert not wrong, "\n".join(wrong)


async def test_a_job_reads_its_batches(planned: Planned) -> None:
    wrong = await planned.jobs({}, JOBS)
    assert not wrong, "\n".join(wrong)


async def test_one_odd_row_hides_no_other(planned: Planned) -> None:
    wrong = await odd_row_failures(planned, LISTS)
    assert not wrong, "\n".join(wrong)
