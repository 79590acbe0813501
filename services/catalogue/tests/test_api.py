"""What editors do, and every refusal they may meet."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from catalogue import domain
from catalogue.jobs import renew_listings
from catalogue.tables import CourseVersion, Price, Unit
from shared.events.catalogue import CoursePublished, MaterialsPublished
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging.tables import Installation
from shared.testing.services import published

from .writing import course, draft, publish

PRICE = {"amount_minor": 59500, "currency": "GBP", "valid_from": "2027-01-01T00:00:00Z"}


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_the_first_publication_announces_course_materials_and_every_price(session, editor, anyone) -> None:
    written = await draft(editor)
    await editor.post(f"/v1/courses/{written['course_id']}/prices", json=PRICE)
    assert await published(session) == []
    assert (await anyone.get("/v1/courses/causal-inference")).status_code == 404

    answer = await editor.post(f"/v1/courses/{written['course_id']}/publication")

    assert answer.status_code == 200
    assert answer.json()["published_at"] == "2026-11-23T12:00:00Z"
    course_, materials, price, later = await published(session)
    assert names([course_, materials, price, later]) == [
        "CoursePublished",
        "MaterialsPublished",
        "PriceChanged",
        "PriceChanged",
    ]
    assert (course_.slug, course_.version, course_.subject_name) == ("causal-inference", 1, "Data Science")
    assert course_.criteria == "Answered a question about causes."
    assert [outcome.code for outcome in course_.outcomes] == ["LO1"]
    assert materials.units[0].text == "For a unit and a treatment there are two outcomes."
    assert materials.course_version_id == course_.course_version_id
    assert (price.amount_minor, later.amount_minor) == (49500, 59500)
    assert UUID(price.set_by) == UUID(later.set_by)  # by whom: they buy nothing at it
    assert (await anyone.get("/v1/courses/causal-inference")).status_code == 200


async def test_a_draft_that_may_have_been_published_in_lost_history_is_published_under_an_id_of_its_own(
    session, editor, clock
) -> None:
    """Others keep what they were told of a version's id, for good."""
    first, second = await draft(editor), await draft(editor, "regression")
    clock.advance(hours=1)
    await session.execute(update(Installation).values(history_accepted_at=clock()))
    clock.advance(hours=1)
    third = await draft(editor, "forecasting")
    shown = [(await editor.post(f"/v1/courses/{one['course_id']}/publication")).json() for one in (first, third)]
    await session.execute(update(Installation).values(history_accepted_at=None, history_lost_at=clock()))
    shown.append((await editor.post(f"/v1/courses/{second['course_id']}/publication")).json())
    before = [one["course_version_id"] for one in (first, third, second)]
    assert [one["course_version_id"] == was for one, was in zip(shown, before, strict=True)] == [False, True, False]
    assert [[unit["text"] for unit in one["units"]] for one in shown] == [[first["units"][0]["text"]]] * 3
    events = await published(session)
    announced = [str(event.course_version_id) for event in events if isinstance(event, CoursePublished)]
    units = [str(event.units[0].unit_id) for event in events if isinstance(event, MaterialsPublished)]
    assert announced == [one["course_version_id"] for one in shown]
    assert units == [one["units"][0]["unit_id"] for one in shown]


async def test_a_change_is_a_new_version_and_the_old_one_stays(session, editor, anyone) -> None:
    first = await publish(editor)
    path = f"/v1/courses/{first['course_id']}"
    second = (await editor.post(f"{path}/versions")).json()
    assert (second["version"], second["title"]) == (2, "Causal Inference")
    assert second["units"][0]["text"] == first["units"][0]["text"]
    assert second["units"][0]["unit_id"] != first["units"][0]["unit_id"]
    content = course(title="Causal Inference, Revised")
    for fixed in ("slug", "code", "module_family", "price"):
        del content[fixed]

    revised = await editor.put(f"{path}/draft", json=content, headers={"If-Match": "1"})

    assert revised.status_code == 200, revised.text
    assert (await anyone.get("/v1/courses/causal-inference")).json()["title"] == "Causal Inference"
    await editor.post(f"{path}/publication")
    on_sale = (await anyone.get("/v1/courses/causal-inference")).json()
    assert (on_sale["version"], on_sale["title"]) == (2, "Causal Inference, Revised")
    announced = (await published(session))[3:]
    assert names(announced) == ["CourseUpdated", "MaterialsPublished"]
    versions = (await editor.get(f"{path}/versions")).json()["items"]
    assert [version["version"] for version in versions] == [2, 1]
    old = (await editor.get(f"{path}/versions/1")).json()
    assert (old["title"], old["units"]) == ("Causal Inference", first["units"])


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ({"subject": None}, "no_subject"),
        ({"institution": None}, "no_institution"),
        ({"outcomes": []}, "no_outcomes"),
        ({"units": []}, "no_units"),
        ({"price": None}, "no_price_in_force"),
        ({"price": PRICE}, "no_price_in_force"),
    ],
)
async def test_publication_is_refused_by_the_name_of_what_is_missing(session, editor, missing, code) -> None:
    written = await draft(editor, **missing)
    answer = await editor.post(f"/v1/courses/{written['course_id']}/publication")
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert answer.json()["missing"] == [code]
    assert await published(session) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"subject": "alchemy"}, "unknown_subject"),
        ({"institution": "atlantis"}, "unknown_institution"),
        ({"credits": 30}, "not_offered_at_that_size"),
        ({"slug": "drafts"}, "reserved_slug"),
        ({"outcomes": [{"code": "LO1", "text": "a"}, {"code": "LO1", "text": "b"}]}, "outcome_codes_repeated"),
        ({"units": [{"position": 2, "title": "t", "minutes": 1, "text": "t"}]}, "units_out_of_order"),
        ({"price": PRICE | {"currency": "EUR"}}, "other_currency"),
        ({"price": PRICE | {"amount_minor": 0}}, "invalid_request"),
        ({"slug": "Not A Slug"}, "invalid_request"),
        ({"title": "bell \u0007"}, "invalid_request"),
        ({"hours_per_week": {"min": 15, "max": 12}}, "hours_out_of_order"),
        ({"price": PRICE | {"valid_from": "9999-12-31T23:59:59-12:00"}}, "invalid_request"),
        ({"published_at": "2026-01-01T00:00:00Z"}, "invalid_request"),
    ],
)
async def test_a_draft_that_cannot_be_is_refused(editor, change, code) -> None:
    answer = await editor.post("/v1/courses", json=course(**change))
    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"subject": "alchemy"}, "unknown_subject"),
        ({"institution": "nowhere"}, "unknown_institution"),
        ({"credits": 30}, "not_offered_at_that_size"),
        ({"hours_per_week": {"min": 15, "max": 12}}, "hours_out_of_order"),
        ({"outcomes": [{"code": "LO1", "text": "a"}, {"code": "LO1", "text": "b"}]}, "outcome_codes_repeated"),
        ({"units": [{"position": 2, "title": "t", "minutes": 1, "text": "t"}]}, "units_out_of_order"),
    ],
)
async def test_a_draft_cannot_be_revised_into_what_cannot_be(editor, change, code) -> None:
    written = await draft(editor)
    content = course(**change)
    for fixed in ("slug", "code", "module_family", "price"):
        del content[fixed]
    answer = await editor.put(f"/v1/courses/{written['course_id']}/draft", json=content)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_no_version_starts_from_a_size_that_is_offered_no_more(editor, monkeypatch) -> None:
    made = await publish(editor)
    later = replace(domain.in_force(datetime(2026, 11, 23, tzinfo=UTC)), credits=frozenset({30}))
    monkeypatch.setattr(domain, "in_force", lambda _: later)
    answer = await editor.post(f"/v1/courses/{made['course_id']}/versions")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_offered_at_that_size")


async def test_a_slug_and_a_code_belong_to_one_course(editor) -> None:
    first = await draft(editor)
    same_slug = await editor.post("/v1/courses", json=course(code="OTHER"))
    same_code = await editor.post("/v1/courses", json=course("other", code=course()["code"]))
    assert (same_slug.status_code, same_slug.json()["code"]) == (409, "slug_taken")
    assert same_slug.json()["course_id"] == first["course_id"]
    assert same_slug.json()["state"] == "draft"
    assert (same_code.status_code, same_code.json()["code"]) == (409, "code_taken")


async def test_a_repeated_request_creates_nothing_twice(editor) -> None:
    key = {"Idempotency-Key": "seed/causal-inference"}
    first = await editor.post("/v1/courses", json=course(), headers=key)
    again = await editor.post("/v1/courses", json=course(), headers=key)
    assert (again.status_code, again.json()) == (201, first.json())


async def test_what_creates_needs_an_idempotency_key(service, session) -> None:
    async with service.client("catalogue_editor") as client:
        answer = await client.post("/v1/courses", json=course(), headers={"Idempotency-Key": ""})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


async def test_a_course_has_one_draft(editor) -> None:
    made = await publish(editor)
    path = f"/v1/courses/{made['course_id']}"
    assert (await editor.get(f"{path}/draft")).status_code == 404
    assert (await editor.post(f"{path}/versions")).status_code == 201
    again = await editor.post(f"{path}/versions")
    assert (again.status_code, again.json()["code"]) == (409, "draft_exists")
    drafts = (await editor.get("/v1/courses/drafts")).json()["items"]
    assert [(one["course_id"], one["version"]) for one in drafts] == [(made["course_id"], 2)]


async def test_a_first_draft_is_no_version_to_start_from(editor) -> None:
    written = await draft(editor)
    answer = await editor.post(f"/v1/courses/{written['course_id']}/versions")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_published")


async def test_without_a_draft_there_is_nothing_to_publish_or_revise(editor) -> None:
    made = await publish(editor)
    path = f"/v1/courses/{made['course_id']}"
    content = course()
    for fixed in ("slug", "code", "module_family", "price"):
        del content[fixed]
    for answer in (await editor.post(f"{path}/publication"), await editor.put(f"{path}/draft", json=content)):
        assert (answer.status_code, answer.json()["code"]) == (409, "no_draft")


async def test_two_editors_cannot_overwrite_each_other_unawares(editor) -> None:
    written = await draft(editor)
    path = f"/v1/courses/{written['course_id']}/draft"
    content = course()
    for fixed in ("slug", "code", "module_family", "price"):
        del content[fixed]
    assert (await editor.put(path, json=content, headers={"If-Match": "1"})).json()["revision"] == 2
    late = await editor.put(path, json=content, headers={"If-Match": "1"})
    assert (late.status_code, late.json()["code"], late.json()["revision"]) == (412, "draft_changed", 2)


async def test_a_withdrawn_course_is_off_the_list_but_can_be_read(session, editor, anyone) -> None:
    made = await publish(editor)
    path = f"/v1/courses/{made['course_id']}"
    answer = await editor.post(f"{path}/withdrawal")
    assert (answer.status_code, answer.json()["state"]) == (200, "withdrawn")
    assert names(await published(session))[3:] == ["CourseWithdrawn"]
    assert (await anyone.get("/v1/courses")).json()["items"] == []
    assert (await anyone.get("/v1/courses/causal-inference")).json()["state"] == "withdrawn"


async def test_withdrawal_is_final(editor) -> None:
    made = await publish(editor)
    path = f"/v1/courses/{made['course_id']}"
    await editor.post(f"{path}/versions")
    await editor.post(f"{path}/withdrawal")
    for answer in (
        await editor.post(f"{path}/withdrawal"),
        await editor.post(f"{path}/publication"),
        await editor.post(f"{path}/versions"),
        await editor.post(f"{path}/prices", json=PRICE),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "course_withdrawn")


async def test_a_draft_cannot_be_withdrawn(editor) -> None:
    written = await draft(editor)
    answer = await editor.post(f"/v1/courses/{written['course_id']}/withdrawal")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_published")


async def test_a_price_set_on_a_published_course_is_announced(session, editor, anyone) -> None:
    made = await publish(editor)
    answer = await editor.post(f"/v1/courses/{made['course_id']}/prices", json=PRICE)
    assert answer.status_code == 201
    (changed,) = (await published(session))[3:]
    assert (changed.amount_minor, str(changed.price_id)) == (59500, answer.json()["price_id"])
    prices = (await editor.get(f"/v1/courses/{made['course_id']}/prices")).json()["items"]
    assert [price["amount_minor"] for price in prices] == [49500, 59500]


async def test_a_price_is_shown_in_utc_whatever_zone_it_was_set_in(editor) -> None:
    made = await publish(editor)
    price = PRICE | {"valid_from": "2027-07-01T00:30:00+01:00"}
    answer = await editor.post(f"/v1/courses/{made['course_id']}/prices", json=price)
    assert (answer.status_code, answer.json()["valid_from"]) == (201, "2027-06-30T23:30:00Z")


@pytest.mark.parametrize(
    ("price", "status", "code"),
    [
        (PRICE | {"valid_from": "2026-11-23T11:59:59Z"}, 409, "price_in_the_past"),
        (PRICE | {"valid_from": "2026-11-23T12:00:00"}, 422, "invalid_request"),
        (PRICE | {"currency": "USD"}, 422, "other_currency"),
    ],
)
async def test_a_price_that_cannot_be_is_refused(editor, price, status, code) -> None:
    made = await publish(editor)
    answer = await editor.post(f"/v1/courses/{made['course_id']}/prices", json=price)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_one_price_begins_at_an_instant(editor) -> None:
    made = await publish(editor)
    await editor.post(f"/v1/courses/{made['course_id']}/prices", json=PRICE)
    again = await editor.post(f"/v1/courses/{made['course_id']}/prices", json=PRICE | {"amount_minor": 1})
    assert (again.status_code, again.json()["code"]) == (409, "price_date_taken")


@pytest.mark.parametrize("operation", ["publication", "withdrawal", "versions", "prices"])
async def test_an_unknown_course_is_not_found(editor, operation) -> None:
    answer = await editor.post(f"/v1/courses/{new_id()}/{operation}", json=PRICE if operation == "prices" else None)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_unknown_version_is_not_found(editor) -> None:
    made = await publish(editor)
    assert (await editor.get(f"/v1/courses/{made['course_id']}/versions/2")).status_code == 404


async def test_subjects_and_institutions_have_names_and_addresses_of_their_own(editor) -> None:
    subject = {"slug": "law", "name": "Law", "award_name": "Jurisprudence", "description": "Law."}
    institution = {"slug": "eastmere", "name": "E", "homepage": "https://e.example", "country": "GB"}
    answers = [
        await editor.post("/v1/subjects", json=subject),
        await editor.post("/v1/subjects", json=subject | {"slug": "lex", "award_name": "LAW"}),
        await editor.post("/v1/subjects", json=subject | {"slug": "lex", "award_name": "Law and Order"}),
        await editor.post("/v1/subjects", json=subject | {"slug": "lex", "award_name": "Interdisciplinary Studies"}),
        await editor.post("/v1/institutions", json=institution),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (409, "slug_taken"),
        (409, "award_name_taken"),
        (422, "ambiguous_award_name"),
        (422, "reserved_award_name"),
        (409, "slug_taken"),
    ]


async def test_renaming_a_subject_is_announced_and_shown(service, session, editor, anyone) -> None:
    made = await publish(editor)
    page = (await anyone.get("/v1/courses/causal-inference")).json()
    path = f"/v1/subjects/{page['subject']['subject_id']}/names"
    before = len(await published(session))
    renamed = {"name": "Data Studies", "award_name": "Data Studies"}

    assert (await editor.put(path, json=renamed)).status_code == 200
    assert (await editor.put(path, json=renamed)).status_code == 200

    (event,) = (await published(session))[before:]
    assert (type(event).__name__, event.award_name) == ("SubjectRenamed", "Data Studies")
    await renew_listings(Work(service.process.database, {}))
    page = (await anyone.get("/v1/courses/causal-inference")).json()
    assert page["subject"]["award_name"] == "Data Studies"
    assert page["course_version_id"] == made["course_version_id"]
    for award_name, refused in (
        ("Law", (409, "award_name_taken")),
        ("Data with Law", (422, "ambiguous_award_name")),
        ("Interdisciplinary Studies", (422, "reserved_award_name")),
    ):
        answer = await editor.put(path, json={"name": "Law", "award_name": award_name})
        assert (answer.status_code, answer.json()["code"]) == refused
    assert (await editor.put(f"/v1/subjects/{new_id()}/names", json=renamed)).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        update(CourseVersion).values(title="other"),
        delete(CourseVersion),
        update(Unit).values(text="other"),
        delete(Unit),
        update(Price).values(amount_minor=1),
        delete(Price),
    ],
)
async def test_the_database_itself_keeps_what_is_published(session, editor, change) -> None:
    await publish(editor)
    with pytest.raises(IntegrityError, match="not changed once published"):
        async with session.begin_nested():
            await session.execute(change)


async def test_no_unit_is_added_to_a_published_version(session, editor) -> None:
    made = await publish(editor)
    late = insert(Unit).values(
        unit_id=new_id(),
        course_version_id=made["course_version_id"],
        position=2,
        title="late",
        minutes=1,
        objectives=[],
        text="late",
    )
    with pytest.raises(IntegrityError, match="not changed once published"):
        async with session.begin_nested():
            await session.execute(late)
