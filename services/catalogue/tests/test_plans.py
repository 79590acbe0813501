"""What lists, search and jobs read depends on the page, not on how much the catalogue holds."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from embedded.postgres import Postgres
from shared.testing.odd_rows import odd_row_failures
from shared.testing.plans import Ask, Planned, Table, at, planned_service, someone, uuid_of
from shared.testing.services import BuildService

COURSES, SUBJECTS, INSTITUTIONS = 20_000, 60, 10
RENAMED = SUBJECTS - 1
"""It has few courses, so that renewing them takes no time."""


def subject(n: int) -> int:
    return n % SUBJECTS if n < 1_000 else n % RENAMED


def listing(n: int) -> str:
    return f"'common':1A '{'rare' if n == 77 else 'plain'}':2B 'group{n % 100}':3"


TABLES = {
    "subjects": Table(
        {
            "renewed_up_to": lambda n: UUID(int=0) if n == RENAMED else None,
            "award_name": lambda n: f"Subject {n}",
        },
        rows=SUBJECTS,
    ),
    "institutions": Table(rows=INSTITUTIONS),
    "courses": Table(
        {
            "state": lambda n: "draft" if n >= COURSES - 100 else "published",
            "current_version_id": lambda n: None if n >= COURSES - 100 else uuid_of("course_version_id", n),
        }
    ),
    "course_versions": Table(
        {
            "subject_id": lambda n: uuid_of("subject_id", subject(n)),
            "institution_id": lambda n: uuid_of("institution_id", n % INSTITUTIONS),
            "published_at": lambda n: None if n >= COURSES - 100 else at(days=-100),
            "published_by": lambda n: None if n >= COURSES - 100 else "editor",
            "outcomes": [],
            "skills": [],
            "version": lambda n: n + 1 if n < 60 else 1,
            "course_id": lambda n: uuid_of("course_id", 0 if n < 60 else n),
        }
    ),
    "units": Table({"objectives": []}),
    "prices": Table(
        {
            "course_id": lambda n: uuid_of("course_id", 0 if n < 60 else n),
            "valid_from": lambda n: at(days=n) if n < 60 else at(days=-100),
            "amount_minor": 49500,
        }
    ),
    "listings": Table(
        {
            "on_sale": True,
            "level": lambda n: 6 + n % 2,
            "subject": lambda n: f"slug-{subject(n)}",
            "institution": lambda n: f"slug-{n % INSTITUTIONS}",
            "sort_title": lambda n: f"{n * 7919 % COURSES:06} common title",
            "card": '{"course_id":"1"}',
            "page": '{"page":"1"}',
            "search": listing,
        },
        rows=COURSES,
    ),
    "programme_maps": Table({"ceiling_credits": 60}),
}


@pytest.fixture(scope="module")
async def planned(planned_server: Postgres, build_service: BuildService) -> AsyncIterator[Planned]:
    async with planned_service(build_service, planned_server, TABLES, rows=COURSES) as planned:
        yield planned


EDITOR = someone("catalogue_editor")
FIRST = uuid_of("course_id", 0)
COUNTED = COURSES + 200
"""Facets count what matches, by an index that holds nothing else, and once for all pages until something changes."""
RANKING = 2_500
"""However many match, only so many pages are read to put the best in order."""

LISTS = {
    "list_courses": [
        Ask("/v1/courses", rows=COUNTED),
        Ask("/v1/courses?subject=slug-3", rows=COUNTED),
        Ask("/v1/courses?subject=slug-3&subject=slug-4&institution=slug-1&level=7", rows=COUNTED, full=False),
        Ask("/v1/courses?level=7", rows=COUNTED),
        Ask("/v1/courses?q=rare", full=False),
        Ask("/v1/courses?q=group7", rows=2_000),
        Ask("/v1/courses?q=common", rows=3 * COUNTED, pages=RANKING),
        Ask("/v1/courses?q=common&subject=slug-3", rows=3 * COUNTED, pages=RANKING),
    ],
    "list_drafts": [Ask("/v1/courses/drafts", EDITOR)],
    "list_versions": [Ask(f"/v1/courses/{FIRST}/versions", EDITOR)],
    "list_prices": [Ask(f"/v1/courses/{FIRST}/prices", EDITOR)],
    "list_subjects": [Ask("/v1/subjects")],
    "list_institutions": [Ask("/v1/institutions", full=False)],
    "list_programmes": [Ask("/v1/programmes")],
    "read_course": [Ask("/v1/courses/slug-500", full=False)],
}

JOBS = {"renew_listings": 10, "renew_listings_again": 1}


async def test_a_list_reads_its_page(planned: Planned) -> None:
    wrong = await planned.lists(LISTS)
    assert not wrong, "\n".join(wrong)


async def test_a_job_reads_its_batches(planned: Planned) -> None:
    wrong = await planned.jobs({}, JOBS)
    assert not wrong, "\n".join(wrong)


async def test_a_list_without_an_index_or_without_a_row_here_is_found(planned: Planned) -> None:
    drafts = {"list_drafts": LISTS["list_drafts"]}
    await planned.plans.connection.execute("drop index uq_course_versions_draft")
    wrong = await planned.lists(drafts)
    await planned.plans.connection.execute(
        "create unique index uq_course_versions_draft on course_versions (course_id) where published_at is null"
    )
    assert "list_courses: a list whose plans nothing holds" in wrong
    assert [one for one in wrong if one.startswith("list_drafts") and " rows, " in one], wrong


async def test_one_odd_row_hides_no_other(planned: Planned) -> None:
    wrong = await odd_row_failures(planned, LISTS)
    assert not wrong, "\n".join(wrong)
