"""A version of the regulations that somebody proposes is refused in words, or compared: it stops nothing."""

import json
import time
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from credentials.domain import impact, regulations
from credentials.domain.credit import Credit
from credentials.domain.regulations import InvalidRegulations
from credentials.tables.reports import RegulationReport
from shared.ids import new_id

from .announcements import hold_credit
from .regulation_reports import IN_FORCE, URL, candidate, report_on

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ODD = [
    *(0, 1, -1, 7, 7.5, 15.0, 60.0, 1e308, 10**4, 10**30, True, False, None, [], {}, [[]], {"a": 1}, "", " ", "x"),
    *("1", "0", "1/2", "-1/2", "0.5", "1e-10000000", "1e999999999", "9" * 5000, "1/0", "nan", "inf", "½", "५", "5_0"),
    *("2027-09-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "x" * 10_000, "\x00", "\u202e", "{0}", "{label}"),
]


def leaves(value: object, path: tuple = ()) -> Iterator[tuple]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in entries:
        yield (*path, key)
        yield from leaves(member, (*path, key))


def changed(path: tuple, value: object) -> dict:
    document = deepcopy(candidate(title_rules=IN_FORCE["title_rules"]))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return document


def held() -> list[Credit]:
    subjects = ["Data Science"] * 6 + ["Management"] * 4 + ["Law"] * 2
    return [
        Credit(id=str(n), family=str(n), subject=subject, credits=15, level=7, mark=Decimal(60), passed_at=NOW)
        for n, subject in enumerate(subjects)
    ]


READ = [path for path in leaves(candidate(title_rules=IN_FORCE["title_rules"])) if not set(path[:1]) & {
    "sharing", "documents", "transfers", "recognition"
}]  # fmt: skip


def test_every_odd_value_at_every_place_is_refused_or_compared() -> None:
    facts, before = held(), regulations.claimable(frozenset(), NOW)
    compared = 0
    for path in READ:
        for value in ODD:
            began = time.process_time()
            try:
                version = regulations.read_candidate(changed(path, value))
            except InvalidRegulations:
                pass
            else:
                impact.changes(facts, [], before, regulations.claimable_from(version, frozenset({IN_FORCE["version"]})))
                compared += 1
            assert time.process_time() - began < 2, (path, value)
    assert compared > len(READ)


@pytest.mark.parametrize("member", ["module_credits", "external_max_share"])
async def test_an_odd_report_keeps_no_good_one_waiting(service, session, member) -> None:
    await hold_credit(session, new_id(), DS=4)
    async with service.client("registrar") as office:
        for odd in (15.0, "1e-10000000"):
            refused = await office.post(URL, json={"document": candidate(**{member: odd})})
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_regulations")
        report = await report_on(service, office, candidate())
    assert report["finished_at"] is not None
    assert await session.scalar(select(func.count()).select_from(RegulationReport)) == 1


async def test_what_is_not_read_of_a_document_is_stored_all_the_same(service, session) -> None:
    async with service.client("registrar") as office:
        answer = await office.post(URL, json={"document": candidate(remark="a\u0000b")})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
async def test_a_number_that_is_not_finite_is_refused_also_where_it_is_not_read(service, session, number) -> None:
    body = json.dumps({"document": candidate(note={"a": ["number"]})}).replace('"number"', number)
    async with service.client("registrar") as office:
        answer = await office.post(URL, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["pointer"] == "/body/document/note/a/0"
