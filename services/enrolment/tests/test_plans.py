"""What lists, records and jobs read depends on the page, not on how many ever studied."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from embedded.postgres import Postgres
from shared.testing.odd_rows import odd_row_failures
from shared.testing.plans import BUSY, Ask, Planned, Table, at, planned_service, someone, uuid_of
from shared.testing.services import BuildService

LEARNERS, WAITING = 15_000, 60
UNPAID = range(9_000, 9_000 + WAITING)


def last(value: object, otherwise: object = None) -> Callable[[int], object]:
    return lambda n: value if n >= LEARNERS - WAITING else otherwise


def learner(n: int) -> UUID:
    return uuid_of("learner_id", n)


TABLES = {
    "learners": Table({"country": "GB", "contact_email": lambda n: f"person-{n}@example.org"}),
    "names": Table({"learner_id": learner, "display_name": "Ada Lovelace"}),
    "declarations": Table({"learner_id": learner}),
    "contact_changes": Table(rows=0),
    "course_versions": Table({"credits": 15, "level": 7}),
    "enrolments": Table(
        {
            "status": lambda n: "suspended" if n in UNPAID else "active",
            "reason_code": lambda n: "payment_reversed" if n in UNPAID else None,
            "changed_at": at(days=-200),
            "regulations_version": "mc-regs-2026.2",
        }
    ),
    "enrolment_states": Table({"status": "active"}),
    "facts": Table({"type": "submission_received"}),
    "order_lines": Table(
        {
            "outcome": last(None, "activated"),
            "decided_at": last(None, at(days=-1)),
            "heard_at": at(days=-30),
            "course_version_id": lambda n: uuid_of("course_version_id", n),
        }
    ),
    "units": Table(
        {
            "course_version_id": lambda n: uuid_of("course_version_id", 0 if n < BUSY else n),
            "position": lambda n: n + 1,
            "objectives": [],
        }
    ),
    "name_requests": Table(
        {
            "state": last("submitted", "approved"),
            "submitted_at": at(days=-2),
            "decided_at": last(None, at(days=-1)),
            "decided_by": last(None, "registrar"),
            "learner_id": lambda n: uuid_of("learner_id", 0 if n < BUSY else n),
        }
    ),
}


@pytest.fixture(scope="module")
async def planned(planned_server: Postgres, build_service: BuildService) -> AsyncIterator[Planned]:
    async with planned_service(build_service, planned_server, TABLES, rows=LEARNERS) as planned:
        yield planned


BUSIEST = learner(0)
LEARNER, ADVISOR, OPERATOR = someone("learner", id=BUSIEST), someone("advisor", id=learner(1)), someone("operator")
REGISTRAR = someone("registrar", id=learner(2))
FIRST = uuid_of("enrolment_id", 0)

LISTS = {
    "list_enrolments": [Ask("/v1/enrolments", LEARNER)],
    "list_units": [Ask(f"/v1/enrolments/{FIRST}/units", LEARNER)],
    "read_own_study_record": [Ask("/v1/study-record", LEARNER, full=False, rows=4 * BUSY, pages=10 * BUSY)],
    "read_study_record": [Ask(f"/v1/learners/{learner(500)}/study-record", ADVISOR, full=False)],
    # Each record is derived anew from its facts, a page of learners at a time: an operator's check, run by a script.
    "compare_study_records": [
        Ask("/v1/study-record-comparison", OPERATOR, full=False, pages=10 * BUSY, statements=8 * 20)
    ],
    "list_name_requests": [
        Ask("/v1/name-requests", REGISTRAR),
        Ask("/v1/name-requests?state=submitted", REGISTRAR),
        Ask("/v1/name-requests", LEARNER),
    ],
}

JOBS = {
    "settle_waiting_lines": WAITING,
    "end_unpaid_enrolments": len(UNPAID),
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
