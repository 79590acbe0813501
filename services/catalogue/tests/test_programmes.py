"""Degree programmes elsewhere, and which of their modules our courses count as."""

from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from catalogue.tables import ProgrammeModule
from shared.events.catalogue import ProgrammePublished
from shared.ids import new_id
from shared.testing.services import published

from .writing import draft, publish

PROGRAMME = {"client_id": "mcp_1", "institution": "Example University", "code": "MSC-DS", "title": "MSc Data Science"}


def module(course_version_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "course_version_id": course_version_id,
        "module_code": "DS7001",
        "module_title": "Statistical Learning",
        "credits": 15,
        "valid_from": "2026-09-01T00:00:00Z",
        "valid_until": None,
        "decided_by": "Faculty Board, 2026/3",
    } | changes


async def test_a_programme_takes_in_credit_from_its_first_map_on(session, editor, anyone) -> None:
    course = await publish(editor)
    programme = (await editor.post("/v1/programmes", json=PROGRAMME)).json()
    address = f"/v1/programmes/{programme['programme_id']}"
    assert (await anyone.get(address)).status_code == 404
    assert (await anyone.get("/v1/programmes")).json()["items"] == []

    wanted = {"ceiling_credits": 60, "modules": [module(course["course_version_id"])]}
    first = (await editor.put(f"{address}/map", json=wanted)).json()
    assert (first["version"], first["ceiling_credits"]) == (1, 60)
    assert first["modules"] == [module(course["course_version_id"])]
    assert (await anyone.get(address)).json() == first
    assert [one["code"] for one in (await anyone.get("/v1/programmes")).json()["items"]] == ["MSC-DS"]
    announced = [event for event in await published(session) if isinstance(event, ProgrammePublished)]
    assert [(event.version, event.client_id, str(event.modules[0].course_version_id)) for event in announced] == [
        (1, "mcp_1", course["course_version_id"])
    ]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_an_instant_that_is_in_no_year_is_refused(editor, at) -> None:
    course = await publish(editor)
    programme = (await editor.post("/v1/programmes", json=PROGRAMME)).json()
    for name in ("valid_from", "valid_until"):
        wanted = {"ceiling_credits": 60, "modules": [module(course["course_version_id"], **{name: at})]}
        answer = await editor.put(f"/v1/programmes/{programme['programme_id']}/map", json=wanted)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_the_same_map_again_is_no_new_version_and_another_one_is(session, editor, anyone) -> None:
    course = await publish(editor)
    programme = (await editor.post("/v1/programmes", json=PROGRAMME)).json()
    address = f"/v1/programmes/{programme['programme_id']}/map"
    wanted = {"ceiling_credits": 60, "modules": [module(course["course_version_id"])]}
    await editor.put(address, json=wanted)
    assert (await editor.put(address, json=wanted)).json()["version"] == 1
    assert (await editor.put(address, json=wanted | {"ceiling_credits": 90})).json()["version"] == 2
    ended = [module(course["course_version_id"], valid_until="2027-09-01T00:00:00Z")]
    assert (await editor.put(address, json={"ceiling_credits": 90, "modules": ended})).json()["version"] == 3
    announced = [event for event in await published(session) if isinstance(event, ProgrammePublished)]
    assert [event.version for event in announced] == [1, 2, 3]


async def test_what_cannot_be_mapped_is_refused_in_words(session, editor) -> None:
    course = (await publish(editor))["course_version_id"]
    unpublished = (await draft(editor, "law-and-data"))["course_version_id"]
    programme = (await editor.post("/v1/programmes", json=PROGRAMME)).json()
    assert (await editor.post("/v1/programmes", json=PROGRAMME)).json()["code"] == "programme_code_taken"
    address = f"/v1/programmes/{programme['programme_id']}/map"
    cases = [
        ([module(course), module(course, module_code="DS7002")], "module_mapped_twice"),
        ([module(course, valid_until="2026-08-01T00:00:00Z")], "module_dates_out_of_order"),
        ([module(unpublished)], "unknown_course_version"),
        ([module(str(new_id()))], "unknown_course_version"),
        ([module(course, credits=0)], "invalid_request"),
    ]
    for modules, code in cases:
        answer = await editor.put(address, json={"ceiling_credits": 60, "modules": modules})
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    unknown = await editor.put(f"/v1/programmes/{new_id()}/map", json={"ceiling_credits": 60, "modules": []})
    assert unknown.status_code == 404


async def test_the_database_keeps_a_published_map(session, editor) -> None:
    course = await publish(editor)
    programme = (await editor.post("/v1/programmes", json=PROGRAMME)).json()
    wanted = {"ceiling_credits": 60, "modules": [module(course["course_version_id"])]}
    await editor.put(f"/v1/programmes/{programme['programme_id']}/map", json=wanted)
    with pytest.raises(IntegrityError, match="not changed once published"):
        await session.execute(delete(ProgrammeModule))
