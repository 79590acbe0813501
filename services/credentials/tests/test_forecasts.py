"""Why not, what if, and the ways to a title, through the door."""

from dataclasses import replace

import pytest

from credentials.commands import awards
from credentials.domain import regulations
from credentials.tables.issued import Eligibility
from shared.database import now as now_of
from shared.ids import new_id

from .announcements import (
    DS,
    LAW,
    activated,
    consume,
    course,
    credit,
    hold_credit,
    named,
    renamed,
    revoked,
)
from .courses import priced
from .holds import suspended

FORECAST, PLANS, WHAT_IF = "/v1/award-options/outlook", "/v1/award-options/plans", "/v1/award-options/what-if"
PUBLIC = "/v1/award-forecasts"


async def sell(session, **counts: int) -> None:
    subjects = {"DS": DS, "MG": "Management", "LAW": LAW}
    for prefix, count in counts.items():
        for n in range(1, count + 1):
            code = f"{prefix}{n:02}"
            await consume(session, course(code, subjects[prefix]), priced(code))


async def test_the_forecast_says_what_is_missing_and_what_comes_next(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=3)
    await sell(session, DS=4, MG=1)
    async with service.client("learner", id=learner) as client:
        seen = (await client.get(FORECAST)).json()
        one = (await client.get(FORECAST, params={"level": "pgcert", "title": f"PGCert in {DS}"})).json()
    assert [level["missing"] for level in seen["levels"]] == [15, 75, 135]
    pgcert = seen["levels"][0]
    assert pgcert["words"] == "You have 45 of the 60 credits of a PGCert: 15 are missing."
    assert pgcert["nearest"][0]["words"].startswith("15 more credits in ")
    (level,) = one["levels"]
    (near,) = level["nearest"]
    assert near["missing"] == {DS: 15}
    assert near["plan"]["price"] == {"amount_minor": 49500, "currency": "GBP"}
    assert [bought["code"] for bought in near["plan"]["to_buy"]] == ["DS04"]


async def test_what_nobody_sells_has_neither_price_nor_weeks(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=2)
    await sell(session, DS=3)
    async with service.client("learner", id=learner) as client:
        asked = {"level": "pgcert", "title": f"PGCert in {DS}"}
        (level,) = (await client.get(FORECAST, params=asked)).json()["levels"]
    plan = level["nearest"][0]["plan"]
    assert [one["code"] for one in plan["to_buy"]] == ["DS03", None]
    assert (plan["price"], plan["weeks_in_turn"], plan["weeks_at_once"]) == (None, None, None)


async def test_the_forecast_gives_the_reason_of_each_credit_that_does_not_count(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    again = credit(learner, "DS01", DS, 55, credit_id=new_id(), enrolment_id=new_id(), submission_id=new_id())
    lower = credit(learner, "LOW01", DS, level=6)
    await consume(session, revoked(learner, "DS02"), course("LOW01", DS, level=6), again, lower)
    async with service.client("learner", id=learner) as client:
        seen = (await client.get(FORECAST)).json()
        await consume(session, suspended(learner))
        held = (await client.get(FORECAST)).json()
    reasons = {one["credit_id"]: one["reason"] for one in seen["excluded"]}
    assert reasons == {
        str(named("credit", learner, "DS02")): "revoked",
        str(again.credit_id): "repeated",
        str(lower.credit_id): "level",
    }
    assert (held["on_hold"], {one["reason"] for one in held["excluded"]}) == (
        True,
        {"revoked", "repeated", "level", "on_hold"},
    )


async def test_a_title_there_is_not_is_named(service, session, clock) -> None:
    async with service.client("learner") as client:
        answer = await client.get(FORECAST, params={"title": "PGCert in Alchemy"})
        level = await client.get(FORECAST, params={"level": "doctorate"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_title")
    assert (level.status_code, level.json()["code"]) == (422, "unknown_level")
    assert level.json()["levels"] == ["pgcert", "pgdip", "masters"]
    assert "pgdip" in level.json()["detail"]


async def test_what_is_studied_counts_as_planned(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=2)
    await sell(session, DS=4)
    async with service.client("learner", id=learner) as client:
        asked = {"level": "pgcert", "title": f"PGCert in {DS}"}
        before = (await client.get(PLANS, params=asked)).json()["items"][0]["cheapest"]
        await consume(session, activated(learner, "mc-regs-2026.2", code="DS03"))
        after = (await client.get(PLANS, params=asked)).json()["items"][0]["cheapest"]
    assert (before["price"]["amount_minor"], after["price"]["amount_minor"]) == (99000, 49500)
    assert [one["code"] for one in after["studying"]] == ["DS03"]
    assert (before["weeks_in_turn"], after["weeks_in_turn"], after["weeks_at_once"]) == (20, 20, 10)


async def test_a14_a_master_s_degree_from_nothing_costs_594000_pence(service, session, clock) -> None:
    await sell(session, DS=12)
    async with service.client() as anyone:
        asked = {"level": "masters", "subject": DS}
        answer = await anyone.get(f"{PUBLIC}/plans", params=asked)
        again = await anyone.get(f"{PUBLIC}/plans", params=asked, headers={"If-None-Match": answer.headers["etag"]})
    (way,) = answer.json()["items"]
    assert way["title"] == f"Master's degree in {DS}"
    assert way["cheapest"]["price"] == {"amount_minor": 594000, "currency": "GBP"}
    assert way["quickest"]["weeks_at_once"] == 10
    assert again.status_code == 304


async def test_courses_in_another_currency_are_planned_apart(service, session, clock) -> None:
    await sell(session, DS=4)
    await consume(session, course("EU01", DS), priced("EU01", 1, currency="EUR"))
    async with service.client() as anyone:
        pounds = (await anyone.get(f"{PUBLIC}/plans", params={"level": "pgcert"})).json()["items"]
        euros = (await anyone.get(f"{PUBLIC}/plans", params={"currency": "EUR"})).json()
    assert pounds[0]["cheapest"]["price"] == {"amount_minor": 198000, "currency": "GBP"}
    assert euros["items"] == []
    (pgcert, *_) = euros["unreachable"]
    assert (pgcert["level"], pgcert["reason"]) == ("pgcert", "other_currency")
    assert pgcert["words"] == f"PGCert in {DS} takes courses that are sold in GBP."


async def test_what_these_courses_would_open(service, session, clock) -> None:
    await sell(session, DS=3, MG=1)
    courses = [{"course_id": str(named("course", code))} for code in ("DS01", "DS02", "DS03", "MG01")]
    async with service.client() as anyone:
        answer = (await anyone.post(PUBLIC, json={"courses": courses})).json()
    assert [option["title"] for option in answer["levels"][0]["options"]] == [f"PGCert in {DS} with Management"]
    assert "board" in answer["note"]


async def test_what_if_adds_to_what_is_held_and_stores_nothing(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=3)
    body = {"courses": [{"subject": DS, "mark": "80"}]}
    async with service.client("learner", id=learner) as client:
        (option,) = (await client.post(WHAT_IF, json=body)).json()["levels"][0]["options"]
        assert (await client.get("/v1/award-options")).json()["levels"][0]["options"] == []
    assert (option["title"], option["mean"]) == (f"PGCert in {DS}", "65")
    assert [one["supposed"] for one in option["counted"]] == [0, None, None, None]
    assert (await session.get(Eligibility, learner)).titles == {}


@pytest.mark.parametrize(
    "body",
    [
        {"courses": []},
        {"courses": [{}]},
        {"courses": [{"subject": DS, "course_id": str(new_id())}]},
        {"courses": [{"course_id": str(new_id()), "credits": 15}]},
        {"courses": [{"subject": DS}] * 61},
        {"courses": [{"subject": DS, "mark": "101"}]},
        {"courses": [{"subject": "Law \x07"}]},
        {"courses": [{"subject": DS, "credits": 0}]},
    ],
)
async def test_nonsense_is_refused(service, session, clock, body) -> None:
    async with service.client() as anyone:
        answer = await anyone.post(PUBLIC, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_an_unknown_course_is_named(service, session, clock) -> None:
    unknown = str(new_id())
    async with service.client() as anyone:
        answer = await anyone.post(PUBLIC, json={"courses": [{"course_id": unknown}]})
    assert (answer.json()["code"], answer.json()["course_ids"]) == ("unknown_course", [unknown])


@pytest.mark.parametrize("mark", ["49", "49.99", "0"])
async def test_a_mark_that_is_no_pass_gives_no_credit_and_says_so(service, session, clock, mark) -> None:
    await sell(session, DS=1)
    courses = [{"subject": DS, "mark": mark}, *[{"subject": DS, "mark": "50"}] * 3]
    async with service.client("learner") as learner:
        for door in (PUBLIC, WHAT_IF):
            answer = (await learner.post(door, json={"courses": courses})).json()
            assert [level["options"] for level in answer["levels"]] == [[], [], []]
            (left_out,) = answer["left_out"]
            assert (left_out["supposed"], left_out["credit_id"], left_out["reason"]) == (0, None, "failed")
            assert "pass mark" in left_out["words"]


async def test_a_level_without_options_says_why(service, session, clock) -> None:
    await sell(session, DS=1)
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    held = await awards.claim_award(session, learner, "pgcert", f"PGCert in {DS}", None)
    await awards.confer_award(session, held.award_id, by=new_id())
    four = {"courses": [{"subject": DS}] * 4}
    async with service.client("learner", id=learner) as client:
        little = (await client.post(PUBLIC, json={"courses": [{"subject": DS}] * 3})).json()["levels"]
        enough = (await client.post(PUBLIC, json=four)).json()["levels"]
        more = (await client.post(WHAT_IF, json={"courses": [{"subject": DS}]})).json()["levels"]
        again = (await client.post(WHAT_IF, json=four)).json()["levels"]
    assert [level["options"] for level in little] == [[], [], []]
    assert [level["missing"] for level in little] == [15, 75, 135]
    assert little[0]["words"] == "That makes 45 of the 60 credits of a PGCert: 15 are missing."
    assert (enough[0]["missing"], enough[0]["words"], bool(enough[0]["options"])) == (0, None, True)
    assert [level["missing"] for level in more] == [45, 45, 105], "what made an award makes no other of its level"
    for level in (*little, *enough, *more, *again):
        assert bool(level["options"]) is (level["words"] is None)


async def test_a_failed_resit_takes_nothing_from_the_credit_that_is_held(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as client:
        again = {"courses": [{"course_id": str(named("course", "DS01")), "mark": "30"}]}
        answer = (await client.post(WHAT_IF, json=again)).json()
    assert [option["title"] for option in answer["levels"][0]["options"]] == [f"PGCert in {DS}"]


async def test_credit_of_another_size_is_left_out_with_its_reason(service, session, clock) -> None:
    await sell(session, DS=1)
    await consume(session, course("BIG", DS, credits=30), priced("BIG"))
    courses = [{"subject": DS, "credits": 30}, {"course_id": str(named("course", "BIG"))}]
    async with service.client() as anyone:
        answer = (await anyone.post(PUBLIC, json={"courses": courses})).json()
        plans = (await anyone.get(f"{PUBLIC}/plans", params={"subject": DS, "level": "pgcert"})).json()
    assert [(one["supposed"], one["reason"]) for one in answer["left_out"]] == [(0, "size"), (1, "size")]
    assert [(one["course"]["code"], one["reason"]) for one in plans["left_out"]] == [("BIG", "size")]


async def test_a_course_being_studied_that_will_add_nothing_is_named(service, session, clock) -> None:
    learner = new_id()
    await consume(session, course("BIG", DS, credits=30), priced("BIG"))
    await consume(session, activated(learner, "mc-regs-2026.2", code="BIG"))
    async with service.client("learner", id=learner) as client:
        seen = (await client.get(FORECAST)).json()
    assert [(one["course"]["code"], one["reason"]) for one in seen["left_out"]] == [("BIG", "size")]


async def test_an_invented_subject_is_refused_by_name(service, session, clock) -> None:
    await sell(session, DS=3)
    courses = [*[{"subject": DS}] * 3, {"subject": "Nonexistent"}]
    async with service.client("learner") as learner:
        for door in (PUBLIC, WHAT_IF):
            answer = await learner.post(door, json={"courses": courses})
            assert (answer.status_code, answer.json()["code"]) == (422, "subject_without_courses")
            assert answer.json()["subjects"] == ["Nonexistent"]
        for door in (PLANS, f"{PUBLIC}/plans"):
            answer = await learner.get(door, params={"subject": "Nonexistent"})
            assert (answer.status_code, answer.json()["code"]) == (422, "subject_without_courses")


async def test_a_subject_is_known_by_its_present_name(service, session, clock) -> None:
    await sell(session, DS=1)
    await consume(session, renamed(DS, "Data Analytics"))
    async with service.client() as anyone:
        new = await anyone.post(PUBLIC, json={"courses": [{"subject": "Data Analytics"}]})
        old = await anyone.post(PUBLIC, json={"courses": [{"subject": DS}]})
    assert (new.status_code, old.json()["code"]) == (200, "subject_without_courses")


async def test_a_title_no_course_on_sale_completes_has_its_reason(service, session, clock) -> None:
    await sell(session, DS=5)
    title = f"PGDip in {DS}"
    async with service.client("learner") as learner:
        for door in (PLANS, f"{PUBLIC}/plans"):
            answer = (await learner.get(door, params={"title": title})).json()
            assert answer["items"] == []
            (why,) = answer["unreachable"]
            assert (why["level"], why["reason"], why["missing"]) == ("pgdip", "not_on_sale", {DS: 45})
            assert why["words"] == f"{title} takes 45 credits in {DS} that nobody sells now."


async def test_a_title_there_is_not_is_refused_by_plans_too(service, session, clock) -> None:
    await sell(session, DS=4)
    async with service.client("learner") as learner:
        for door in (PLANS, f"{PUBLIC}/plans"):
            answer = await learner.get(door, params={"title": "PGDip in Nonsense"})
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_title")


async def test_a_title_that_is_held_is_no_way_and_says_so(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await sell(session, DS=8)
    await awards.claim_award(session, learner, "pgcert", f"PGCert in {DS}", None)
    async with service.client("learner", id=learner) as client:
        answer = (await client.get(PLANS, params={"title": f"PGCert in {DS}"})).json()
    assert answer["items"] == []
    assert [(why["level"], why["reason"]) for why in answer["unreachable"]] == [("pgcert", "held")]


async def test_levels_without_a_title_that_names_these_subjects_say_so(service, session, clock) -> None:
    await sell(session, DS=4, MG=4, LAW=4)
    async with service.client() as anyone:
        asked = {"subject": [DS, "Management", LAW], "level": "pgcert"}
        answer = (await anyone.get(f"{PUBLIC}/plans", params=asked)).json()
    assert [(why["level"], why["reason"]) for why in answer["unreachable"]] == [("pgcert", "no_such_title")]


async def test_what_can_be_reached_is_not_said_to_be_out_of_reach(service, session, clock) -> None:
    await sell(session, DS=12)
    async with service.client() as anyone:
        answer = (await anyone.get(f"{PUBLIC}/plans")).json()
    assert (answer["unreachable"], answer["left_out"]) == ([], [])


async def test_a_level_that_only_the_pinned_version_has_is_looked_at_too(service, session, clock, monkeypatch) -> None:
    """The version in force has no diploma: whoever enrolled before may claim one all the same, and is shown the way."""
    pinned = regulations.in_force(now_of(session))
    kept = (one for one in pinned.levels if one.code != "pgdip")
    levels = tuple(replace(one, rank=rank) for rank, one in enumerate(kept))
    newer = replace(pinned, version="mc-regs-2027.1", levels=levels)
    monkeypatch.setattr(regulations, "claimable", lambda *_: (newer, pinned))
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await sell(session, DS=8)
    diploma = {"level": "pgdip", "title": f"PGDip in {DS}"}
    async with service.client("learner", id=learner) as client:
        supposed = await client.post(WHAT_IF, json={"courses": [{"subject": DS}]})
        seen, one = await client.get(FORECAST), await client.get(FORECAST, params=diploma)
        plans = await client.get(PLANS, params=diploma)
        picture = await client.get("/v1/award-options/picture")
    answers = (supposed, seen, one, plans, picture)
    assert [answer.status_code for answer in answers] == [200] * 5, [answer.text for answer in answers]
    codes = [level["level"] for level in seen.json()["levels"]]
    assert codes == [level["level"] for level in supposed.json()["levels"]] == ["pgcert", "pgdip", "masters"]
    assert one.json()["levels"][0]["missing"] == 60
    assert [way["title"] for way in plans.json()["items"]] == [f"PGDip in {DS}"]
    assert "PGDip" in picture.text
