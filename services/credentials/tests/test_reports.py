"""Who is affected before a version of the regulations takes effect."""

import pytest

from credentials import jobs as clockwork
from credentials.domain import regulations as regs
from credentials.domain.regulations import InvalidRegulations
from credentials.tables.reports import RegulationReport
from shared.ids import new_id

from .announcements import activated, consume, hold_credit
from .regulation_reports import IN_FORCE, URL, candidate, report_on


async def test_the_report_names_who_gains_and_loses_what(service, session, clock) -> None:
    affected, same = new_id(), new_id()
    await hold_credit(session, affected, DS=5, MG=3)
    await hold_credit(session, same, DS=4)
    async with service.client("registrar") as office:
        report = await report_on(service, office, candidate())
        lines = (await office.get(f"{URL}/{report['report_id']}/learners")).json()["items"]
        other = (await office.get(f"{URL}/{report['report_id']}/learners", params={"level": "pgcert"})).json()["items"]
    assert (report["learners"], report["compared"], report["affected"]) == (2, 2, 1)
    assert report["finished_at"] is not None
    assert (report["gained"], report["lost"]) == ({"pgdip": 1}, {"pgdip": 1})
    assert lines == [
        {
            "learner_id": str(affected),
            "level": "pgdip",
            "gained": ["PGDip in Interdisciplinary Studies"],
            "lost": ["PGDip in Data Science with Management"],
        }
    ]
    assert other == []


async def test_who_enrolled_under_a_version_loses_nothing(service, session, clock) -> None:
    learner = new_id()
    await consume(session, activated(learner, "mc-regs-2026.2"))
    await hold_credit(session, learner, DS=5, MG=3)
    async with service.client("registrar") as office:
        report = await report_on(service, office, candidate())
    assert (report["gained"], report["lost"]) == ({"pgdip": 1}, {"pgdip": 0})


async def test_a_report_goes_on_where_it_was_broken_off(service, session, clock, monkeypatch) -> None:
    for _ in range(5):
        await hold_credit(session, new_id(), DS=5, MG=3)
    monkeypatch.setattr(clockwork, "_BATCH", 2)
    async with service.client("registrar") as office:
        report = await report_on(service, office, candidate())
        paged = (await office.get(f"{URL}/{report['report_id']}/learners", params={"limit": 2})).json()
    assert (report["compared"], report["affected"]) == (5, 5)
    assert (len(paged["items"]), paged["next_cursor"] is None) == (2, False)


async def test_a_level_that_goes_away_takes_its_titles_with_it(service, session, clock) -> None:
    await hold_credit(session, new_id(), DS=4)
    async with service.client("registrar") as office:
        report = await report_on(service, office, candidate(levels=IN_FORCE["levels"][1:]))
    assert report["lost"] == {"pgcert": 1}
    assert (await session.get(RegulationReport, report["report_id"])).document["version"] == "mc-regs-2027.1"


async def test_versions_in_effect_or_unknown_are_refused(service, session, clock) -> None:
    async with service.client("registrar") as office:
        known = await office.post(URL, json={"version": "mc-regs-2026.2"})
        unknown = await office.post(URL, json={"version": "mc-regs-2099.1"})
        neither = await office.post(URL, json={})
    assert (known.status_code, known.json()["code"]) == (409, "already_in_effect")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_regulations")
    assert (neither.status_code, neither.json()["code"]) == (422, "invalid_request")


RULE = IN_FORCE["title_rules"][0]
LEVEL = IN_FORCE["levels"][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"title_rules": []},
        {"title_rules": [RULE]},
        {"title_rules": "none"},
        {"levels": []},
        {"levels": [LEVEL, LEVEL]},
        {"levels": [LEVEL | {"credits": 61}]},
        {"levels": [LEVEL | {"credits": 15_000_000}]},
        {"levels": [LEVEL | {"credits": -60}]},
        {"levels": [LEVEL | {"credits": "sixty"}]},
        {"module_credits": 0},
        {"external_max_share": "1/0"},
        {"external_max_share": "3/2"},
        {"effective_from": "2027-09-01T00:00:00"},
        {"effective_from": 7},
        {"effective_from": "2027-09-01T00:00:00Z"},
        {"effective_from": "9999-12-31T23:59:59-14:00"},
        {"classification": None},
        {"title_rules": [RULE | {"template": "{label.__class__}"}, IN_FORCE["title_rules"][-1]]},
        {"title_rules": [RULE | {"template": "{0:>1000000000}"}, IN_FORCE["title_rules"][-1]]},
        {"title_rules": [RULE | {"template": "{1}"}, IN_FORCE["title_rules"][-1]]},
        {"title_rules": [RULE | {"template": "{"}, IN_FORCE["title_rules"][-1]]},
        {"title_rules": [RULE] * 50 + [IN_FORCE["title_rules"][-1]]},
    ],
)
def test_what_is_no_version_is_refused_in_words(changes: dict) -> None:
    with pytest.raises(InvalidRegulations, match="not a version"):
        regs.read_candidate(candidate(**changes))


async def test_a_document_that_is_no_version_is_answered_with_a_problem(service, session, clock) -> None:
    async with service.client("registrar") as office:
        answer = await office.post(URL, json={"document": {"version": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_regulations")
