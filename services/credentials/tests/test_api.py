"""The HTTP door: one's own record, claims and conferrals, and what anyone may check."""

import asyncio
import hashlib
import json

import pytest
from sqlalchemy import func, select

from credentials.tables.awards import Allocation
from shared.events.credentials import AwardConferred, AwardSuperseded
from shared.ids import new_id
from shared.testing.access import access_failures
from shared.testing.services import published

from .announcements import (
    consume,
    hold_credit,
    introduce,
    let_time_work,
    named,
    passed,
    registered,
    revoked,
)
from .holds import suspension_of

CLAIM = {"level": "pgcert", "title": "PGCert in Data Science"}


async def test_every_operation_admits_whom_the_table_names(service, session, clock) -> None:
    assert await access_failures(service) == []


async def test_the_ledger_shows_pending_ratified_and_revoked(service, session, clock) -> None:
    learner = new_id()
    await consume(session, registered(learner), passed(learner, "DS03"))
    await hold_credit(session, learner, DS=2)
    await consume(session, revoked(learner, "DS02"))
    async with service.client("learner", id=learner) as client:
        answer = (await client.get("/v1/credits")).json()
    assert [(line["status"], line["course_code"]) for line in answer["items"]] == [
        ("pending", None),
        ("ratified", "DS01"),
        ("revoked", "DS02"),
    ]


async def test_a_badge_of_another_is_as_good_as_missing(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    async with service.client("learner", id=learner) as own, service.client("learner") as other:
        badge = (await own.get("/v1/badges")).json()["items"][0]
        assert (await own.get(f"/v1/badges/{badge['badge_id']}")).json() == badge
        answer = await other.get(f"/v1/badges/{badge['badge_id']}")
    assert badge["status"] == "valid"
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_options_say_what_they_use_and_what_stays(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=3, MG=2)
    async with service.client("learner", id=learner) as client:
        answer = (await client.get("/v1/award-options")).json()
    assert answer["regulations"] == ["mc-regs-2026.2"]
    found = {level["level"]: level["options"] for level in answer["levels"]}
    assert [(option["title"], len(option["counted"]), len(option["left"])) for option in found["pgcert"]] == [
        ("PGCert in Data Science and Management", 4, 1),
        ("PGCert in Data Science with Management", 4, 1),
    ]
    assert (found["pgdip"], found["masters"]) == ([], [])
    assert found["pgcert"][0]["classification"] == "Merit"
    assert found["pgcert"][0]["mean"] == "60"


async def test_from_four_passes_to_a_superseded_certificate(service, session, clock) -> None:
    """A9, through the door."""
    learner, registrar = new_id(), new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as client, service.client("registrar", id=registrar) as office:
        claimed = await client.post("/v1/award-claims", json=CLAIM)
        assert claimed.status_code == 201
        assert claimed.json()["state"] == "claimed"
        waiting = (await office.get("/v1/awards", params={"state": "claimed"})).json()["items"]
        assert [award["award_id"] for award in waiting] == [claimed.json()["award_id"]]
        conferred = await office.post(f"/v1/award-claims/{claimed.json()['award_id']}/conferral")
        assert conferred.status_code == 201
        assert conferred.json()["certificate_number"].startswith("MC-2026-")

        await hold_credit(session, learner, MG=4)
        options = (await client.get("/v1/award-options")).json()["levels"]
        assert {o["title"] for o in options[0]["options"]} == {"PGCert in Management"}
        (diploma,) = options[1]["options"]
        assert diploma["title"] == "PGDip in Data Science and Management"
        assert diploma["supersedes"] == [claimed.json()["award_id"]]

        clock.advance(days=30)
        higher = await client.post("/v1/award-claims", json={"level": "pgdip", "title": diploma["title"]})
        await office.post(f"/v1/award-claims/{higher.json()['award_id']}/conferral")
        lower = (await client.get(f"/v1/awards/{claimed.json()['award_id']}")).json()
        assert (lower["state"], lower["superseded_by"]) == ("superseded", higher.json()["award_id"])

        await let_time_work(service)
        badges = (await client.get("/v1/badges")).json()["items"]
        certificate = next(badge for badge in badges if badge["award_id"] == lower["award_id"])
        assert certificate["status"] == "superseded"
        document = (await client.get(f"/credentials/{certificate['badge_id']}")).json()
        answer = (await client.post("/v1/verifications", json=document)).json()
        assert (answer["verified"], answer["status"]) == (True, "superseded")
        page = await client.get(f"/verify/{certificate['badge_id']}")
        assert "Superseded" in page.text
        transcript = (await client.get("/v1/transcript")).json()
    assert [(award["state"], award["title"]) for award in transcript["document"]["awards"]] == [
        ("superseded", "PGCert in Data Science"),
        ("conferred", "PGDip in Data Science and Management"),
    ]
    events = await published(session)
    assert sum(isinstance(event, AwardConferred) for event in events) == 2
    assert sum(isinstance(event, AwardSuperseded) for event in events) == 1


@pytest.mark.parametrize(
    ("claim", "status", "code"),
    [
        ({"level": "pgcert", "title": "PGCert in Law"}, 409, "not_eligible"),
        ({"level": "doctorate", "title": "Doctorate"}, 422, "unknown_level"),
        ({"level": "pgdip", "title": "PGDip in Data Science"}, 409, "not_eligible"),
        ({"level": "pgcert", "title": "PGCert in Data Science", "credit_ids": []}, 422, "wrong_selection"),
        (CLAIM | {"credit_ids": [str(new_id())] * 4}, 422, "wrong_selection"),
        (CLAIM | {"credit_ids": [str(new_id()) for _ in range(4)]}, 409, "not_available"),
        (CLAIM | {"regulations": "mine"}, 422, "invalid_request"),
        (CLAIM | {"title": "PGCert \x07"}, 422, "invalid_request"),
    ],
)
async def test_bad_claims_are_refused_in_words(*, service, session, clock, claim, status, code) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/award-claims", json=claim)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_learner_may_choose_which_credit_counts(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=5)
    chosen = [str(named("credit", learner, f"DS{n:02}")) for n in (2, 3, 4, 5)]
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/award-claims", json=CLAIM | {"credit_ids": chosen})
        other = await client.post("/v1/award-claims", json={**CLAIM, "title": "PGCert in Law", "credit_ids": chosen})
    assert sorted(answer.json()["credit_ids"]) == sorted(chosen)
    assert other.status_code == 409


async def test_a_title_the_chosen_credit_does_not_give_is_refused(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    chosen = [str(named("credit", learner, f"DS{n:02}")) for n in (1, 2, 3, 4)]
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/award-claims", json={**CLAIM, "title": "PGCert in Law", "credit_ids": chosen})
    assert (answer.json()["code"], answer.json()["titles"]) == ("different_title", ["PGCert in Data Science"])


async def test_claims_wait_while_a_payment_is_reversed(service, session, clock) -> None:
    """F6."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    gone, back = suspension_of(learner)
    await consume(session, gone)
    async with service.client("learner", id=learner) as client:
        assert (await client.get("/v1/award-options")).json()["on_hold"]
        answer = await client.post("/v1/award-claims", json=CLAIM)
        assert len((await client.get("/v1/credits")).json()["items"]) == 4
        assert (answer.status_code, answer.json()["code"]) == (409, "on_hold")
        await consume(session, back)
        assert (await client.post("/v1/award-claims", json=CLAIM)).status_code == 201


async def test_nobody_confers_twice_or_on_themselves(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", "registrar", id=learner) as own, service.client("registrar") as office:
        award_id = (await own.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
        answer = await own.post(f"/v1/award-claims/{award_id}/conferral")
        assert (answer.status_code, answer.json()["code"]) == (403, "own_award")
        assert (await office.post(f"/v1/award-claims/{award_id}/conferral")).status_code == 201
        again = await office.post(f"/v1/award-claims/{award_id}/conferral")
        assert (again.status_code, again.json()["code"]) == (409, "not_claimed")
        missing = await office.post(f"/v1/award-claims/{new_id()}/conferral")
    assert missing.status_code == 404


async def test_a_claim_on_revoked_credit_is_not_conferred(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as client, service.client("registrar") as office:
        award_id = (await client.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
        await consume(session, revoked(learner, "DS04"))
        answer = await office.post(f"/v1/award-claims/{award_id}/conferral")
    assert (answer.status_code, answer.json()["code"]) == (409, "under_review")


async def test_one_idempotency_key_makes_one_claim(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    headers = {"Idempotency-Key": str(new_id())}
    async with service.client("learner", id=learner) as client:
        first = await client.post("/v1/award-claims", json=CLAIM, headers=headers)
        again = await client.post("/v1/award-claims", json=CLAIM, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()


async def test_two_tabs_claim_shared_credit_at_once(live) -> None:
    """A10, with real commits: one 201, one 409, four credits allocated once."""
    learner = new_id()
    async with live.process.database.transaction() as session:
        await hold_credit(session, learner, DS=5)
    chosen = [
        [str(named("credit", learner, f"DS{n:02}")) for n in (1, 2, 3, 4)],
        [str(named("credit", learner, f"DS{n:02}")) for n in (2, 3, 4, 5)],
    ]
    barrier = asyncio.Barrier(2)

    async def claim(credit_ids: list[str]) -> tuple[int, str]:
        async with live.client("learner", id=learner) as client:
            await client.get("/v1/award-options")
            await barrier.wait()
            answer = await client.post("/v1/award-claims", json=CLAIM | {"credit_ids": credit_ids})
            return answer.status_code, answer.json().get("code", "")

    answers = sorted(await asyncio.gather(*map(claim, chosen)))
    assert answers == [(201, ""), (409, "not_available")]
    async with live.process.database.transaction() as session:
        count = select(func.count(), func.count(Allocation.credit_id.distinct())).where(Allocation.live)
        assert (await session.execute(count)).one() == (4, 4)


async def test_the_transcript_has_a_version_an_instant_and_a_hash(service, session, clock) -> None:
    learner = new_id()
    async with service.client("learner", id=learner) as client:
        assert (await client.get("/v1/transcript")).status_code == 404
        await introduce(session, learner)
        await hold_credit(session, learner, DS=2)
        first = (await client.get("/v1/transcript")).json()
        page = await client.get("/v1/transcript", headers={"Accept": "text/html"})
        await consume(session, revoked(learner, "DS02"))
        second = (await client.get("/v1/transcript")).json()
    assert (first["version"], first["document"]["total_credits"]) == (2, 30)
    assert (second["version"], second["document"]["total_credits"]) == (3, 15)
    packed = json.dumps(first["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(packed.encode()).hexdigest() == first["sha256"]
    assert first["sha256"] in page.text
    assert "Course DS01" in page.text


# What anyone may check
