"""Credit from elsewhere: applied for with evidence, recognised module by module, counted within its ceiling."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import select

from credentials import jobs as clockwork
from credentials.domain import policies
from credentials.exchange.domain.prior_learning import LearnedTooLongAgo, NotYetCompleted, check_age
from credentials.exchange.queries.prior_learning import external_credits
from credentials.tables.prior_learning import Evidence
from shared.due_rows import list_set_aside
from shared.events.credentials import BadgeIssued, CreditRecognised, RecognitionDecided, RecognitionRevoked
from shared.ids import new_id
from shared.jobs import Work
from shared.orphans import installation_id
from shared.storage import ObjectStorage
from shared.testing.services import published
from shared.testing.stores import DAMAGES, damage
from shared.uploads import UploadPolicy

from .announcements import DS, LAW, consume, course, hold_credit, let_time_work, registered
from .deliveries import register, send
from .prior_learning import BECAUSE, CLAIM, PDF, apply, decide
from .shares import P, handed_over, know
from .webhook_receivers import partner_server


@pytest.fixture
async def learner(service, session, clock):
    learner = new_id()
    await consume(session, registered(learner), course("LAW01", LAW))
    await hold_credit(session, learner, DS=2)
    await let_time_work(service)
    return learner


async def test_recognised_credit_counts_for_an_award_and_not_for_its_class(service, session, clock, learner) -> None:
    address = await apply(service, learner)
    decided = await decide(service, address, DS, DS)
    assert (decided.status_code, decided.json()["state"], len(decided.json()["credit_ids"])) == (200, "recognised", 2)
    async with service.client("learner", id=learner) as client:
        lines = (await client.get("/v1/credits")).json()["items"]
        found = (await client.get("/v1/award-options")).json()["levels"][0]["options"]
    external = [line for line in lines if line["source"] == "rpl_external"]
    assert [(line["credits"], line["mark"], line["status"], line["course_id"]) for line in external] == [
        (15, None, "ratified", None)
    ] * 2
    assert [(option["title"], option["mean"]) for option in found] == [("PGCert in Data Science", "60")]
    await let_time_work(service)
    events = await published(session)
    assert sum(isinstance(event, BadgeIssued) for event in events) == 2  # ours alone
    assert sum(isinstance(event, CreditRecognised) for event in events) == 2
    (decision,) = [event for event in events if isinstance(event, RecognitionDecided)]
    assert (decision.outcome, len(decision.credit_ids)) == ("recognised", 2)


async def test_half_of_an_award_at_most_comes_from_elsewhere(service, session, clock, learner) -> None:
    first = await apply(service, learner, credits=75)
    assert (await decide(service, first, *[DS] * 5)).status_code == 200
    second = await apply(service, learner, credits=30)
    refused = await decide(service, second, DS, DS)
    assert (refused.status_code, refused.json()["code"]) == (409, "external_ceiling_exceeded")
    assert (refused.json()["ceiling_credits"], refused.json()["held_already"]) == (90, 75)
    assert (await decide(service, second, LAW)).status_code == 200
    async with service.client("learner", id=learner) as client:
        found = (await client.get("/v1/award-options")).json()["levels"][0]["options"]
    counted = {option["title"]: [one["mark"] for one in option["counted"]] for option in found}
    assert counted["PGCert in Data Science"].count(None) == 2


async def test_what_was_recognised_is_taken_back_and_partners_are_notified(service, session, clock, learner) -> None:
    await know(session, P)
    address = await apply(service, learner)
    await decide(service, address, DS, DS)
    await handed_over(service, learner, whole_record=True)
    async with partner_server() as partner, service.client("registrar") as office:
        await register(service, partner.url)
        revoked = await office.post(f"/v1/recognitions/{address}/revocation", json={"reason_code": "evidence_false"})
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
        again = await office.post(f"/v1/recognitions/{address}/revocation", json={"reason_code": "evidence_false"})
        assert (again.status_code, again.json()["code"]) == (409, "not_recognised")
        await send(service, session)
        assert partner.types() == ["credit.revoked"] * 2
    async with service.client("learner", id=learner) as client:
        lines = (await client.get("/v1/credits")).json()["items"]
    assert [line["status"] for line in lines if line["source"] == "rpl_external"] == ["revoked"] * 2
    assert await external_credits(session, learner) == 0
    assert sum(isinstance(event, RecognitionRevoked) for event in await published(session)) == 1


async def test_a_refusal_says_why(service, session, clock, learner) -> None:
    address = await apply(service, learner)
    assert (await decide(service, address)).json()["state"] == "refused"
    async with service.client("learner", id=learner) as client:
        seen = (await client.get(f"/v1/recognitions/{address}")).json()
    assert (seen["reason"], seen["credit_ids"]) == (BECAUSE["reason"], [])
    assert (await decide(service, address, DS)).json()["code"] == "not_submitted"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"completed_on": "2021-11-22"}, "learned_too_long_ago"),
        ({"completed_on": "2026-11-24"}, "not_yet_completed"),
        ({"credits": 0}, "invalid_request"),
        ({"title": "Bell \x07"}, "invalid_request"),
        ({"state": "recognised"}, "invalid_request"),
    ],
)
async def test_bad_applications_are_refused_in_words(service, session, clock, learner, changes, code) -> None:
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/recognitions", json=CLAIM | changes)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_evidence_is_what_it_says_and_bounded(service, session, clock, learner) -> None:
    async with service.client("learner", id=learner) as client:
        address = (await client.post("/v1/recognitions", json=CLAIM)).json()["recognition_id"]
        assert (await client.post(f"/v1/recognitions/{address}/submission")).json()["code"] == "evidence_missing"

        async def put(name: str, content: bytes):
            return await client.put(f"/v1/recognition-uploads/{address}", params={"filename": name}, content=content)

        for name, content, code in (
            ("a.exe", PDF, "file_type_not_allowed"),
            ("a.png", PDF, "file_not_as_named"),
            ("a.pdf", b"", "file_empty"),
            ("noname", PDF, "bad_file_name"),
            ("a.pdf", PDF + b"x" * 20_971_520, "file_too_large"),
        ):
            assert (await put(name, content)).json()["code"] == code, name
        first = await put("../../etc/transcript.pdf", PDF)
        assert (first.status_code, first.json()["filename"], first.json()["size"]) == (201, "transcript.pdf", len(PDF))
        assert (await put("again.pdf", PDF)).json()["evidence_id"] == first.json()["evidence_id"]
        for n in range(9):
            assert (await put(f"{n}.pdf", PDF + bytes([n]))).status_code == 201
        assert (await put("11.pdf", PDF + b"more")).json()["code"] == "too_much_evidence"
        got = await client.get(f"/v1/recognition-files/{first.json()['evidence_id']}")
        assert (got.content, got.headers["content-disposition"]) == (PDF, "attachment; filename*=UTF-8''transcript.pdf")
        await client.post(f"/v1/recognitions/{address}/submission")
        assert (await put("late.pdf", PDF + b"late")).json()["code"] == "not_draft"
        assert (await client.post(f"/v1/recognitions/{address}/withdrawal")).json()["state"] == "withdrawn"


@pytest.mark.parametrize("how", DAMAGES)
async def test_damaged_evidence_is_not_given_out_and_is_set_aside(service, session, clock, learner, how) -> None:
    async with service.client("learner", id=learner) as client:
        address = (await client.post("/v1/recognitions", json=CLAIM)).json()["recognition_id"]
        sent = await client.put(f"/v1/recognition-uploads/{address}", params={"filename": "a.pdf"}, content=PDF)
        key = await session.scalar(select(Evidence.storage_key))
        await damage(service.service.resources[ObjectStorage], key, how)
        answer = await client.get(f"/v1/recognition-files/{sent.json()['evidence_id']}")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert "missing or damaged" in answer.json()["detail"]
    assert answer.headers["Retry-After"] == "86400"
    aside = {(row.job, row.row_key, row.last_error.partition("(")[0]) for row in await list_set_aside(session)}
    assert ("check_files", key, "FileDamaged") in aside


@pytest.mark.parametrize("how", DAMAGES)
async def test_the_same_bytes_sent_again_heal_damaged_evidence(service, session, learner, how) -> None:
    async with service.client("learner", id=learner) as client:
        address = (await client.post("/v1/recognitions", json=CLAIM)).json()["recognition_id"]

        async def put():
            return await client.put(f"/v1/recognition-uploads/{address}", params={"filename": "a.pdf"}, content=PDF)

        first = (await put()).json()
        key = await session.scalar(select(Evidence.storage_key))
        await damage(service.service.resources[ObjectStorage], key, how)
        file = f"/v1/recognition-files/{first['evidence_id']}"
        assert (await client.get(file)).status_code == 503
        assert (await put()).json() == first
        assert (await client.get(file)).content == PDF


async def test_files_no_application_names_are_removed(service, session, clock, learner) -> None:
    async with service.client("learner", id=learner) as client:
        address = (await client.post("/v1/recognitions", json=CLAIM)).json()["recognition_id"]
        for _ in range(2):
            await client.put(f"/v1/recognition-uploads/{address}", params={"filename": "a.pdf"}, content=PDF)
    storage = service.service.resources[ObjectStorage]
    before = [stored.key async for page in storage.pages() for stored in page]
    kept = await session.scalar(Evidence.__table__.select().with_only_columns(Evidence.storage_key))
    clock.at += timedelta(days=36500)
    resources = service.service.resources
    policy = replace(resources[UploadPolicy], orphans_at_once=1000)  # other tests have left files too
    work = Work(service.process.database, {**resources, UploadPolicy: policy})
    await storage.claim(await installation_id(service.process.database), anew=True)
    await clockwork.remove_orphans(work)
    after = [stored.key async for page in storage.pages() for stored in page]
    assert len(before) > len(after)
    assert after == [kept]


async def test_an_application_is_its_learners_and_a_draft_nobody_elses(service, session, clock, learner) -> None:
    address = await apply(service, learner)
    async with service.client("learner", id=learner) as client, service.client("learner") as other:
        draft = (await client.post("/v1/recognitions", json=CLAIM)).json()["recognition_id"]
        evidence = (await client.get(f"/v1/recognitions/{address}")).json()["evidence"][0]["evidence_id"]
        for path in (f"/v1/recognitions/{address}", f"/v1/recognition-files/{evidence}"):
            assert (await other.get(path)).status_code == 404
        assert (
            await other.put(f"/v1/recognition-uploads/{draft}", params={"filename": "a.pdf"}, content=PDF)
        ).status_code == 404
        for what in ("submission", "withdrawal"):
            assert (await other.post(f"/v1/recognitions/{address}/{what}")).status_code == 404
        assert (await other.get("/v1/recognitions")).json()["items"] == []
    async with service.client("registrar") as office:
        assert (await office.get(f"/v1/recognitions/{draft}")).status_code == 404
        assert (await office.get(f"/v1/recognition-files/{evidence}")).content == PDF
        waiting = (await office.get("/v1/recognitions", params={"state": "submitted"})).json()["items"]
        assert [one["recognition_id"] for one in waiting] == [address]
        assert (await decide(service, draft, DS)).status_code == 404
    assert (await decide(service, address, DS, by=learner)).json()["code"] == "own_application"
    assert (await decide(service, address, *[DS] * 9)).json()["code"] == "units_out_of_bounds"
    assert (await decide(service, address, "Alchemy")).json()["code"] == "subject_not_in_catalogue"


def test_age_is_counted_in_whole_years() -> None:
    policy = policies.in_force(policies._versions.all["mc-regs-2026.2"].effective_from).recognition
    check_age(date(2021, 11, 23), date(2026, 11, 23), policy)
    with pytest.raises(LearnedTooLongAgo):
        check_age(date(2021, 11, 22), date(2026, 11, 23), policy)
    check_age(date(2024, 2, 29), date(2029, 2, 28), policy)
    with pytest.raises(LearnedTooLongAgo):
        check_age(date(2024, 2, 29), date(2029, 3, 1), policy)
    with pytest.raises(NotYetCompleted):
        check_age(date(2026, 11, 24), date(2026, 11, 23), policy)


@pytest.mark.parametrize("is_withdrawn", [False, True])
async def test_what_was_never_submitted_is_seen_by_nobody_else(service, session, clock, learner, is_withdrawn) -> None:
    async with service.client("learner", id=learner) as client, service.client("registrar") as office:
        draft = (await client.post("/v1/recognitions", json=CLAIM)).json()["recognition_id"]
        uploaded = await client.put(f"/v1/recognition-uploads/{draft}", params={"filename": "a.pdf"}, content=PDF)
        file = f"/v1/recognition-files/{uploaded.json()['evidence_id']}"
        if is_withdrawn:
            assert (await client.post(f"/v1/recognitions/{draft}/withdrawal")).status_code == 200
        assert (await client.get(file)).status_code == 200
        assert (await office.get("/v1/recognitions")).json()["items"] == []
        assert (await office.get("/v1/recognitions", params={"state": "withdrawn"})).json()["items"] == []
        revocation = {"reason_code": "evidence_false"}
        for answer in (
            await office.get(f"/v1/recognitions/{draft}"),
            await office.get(file),
            await decide(service, draft, DS),
            await office.post(f"/v1/recognitions/{draft}/revocation", json=revocation),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("at", "day"), [("2027-06-30T23:30:00Z", "2027-07-01"), ("2027-01-01T00:30:00Z", "2027-01-01")]
)
async def test_what_was_completed_today_in_london_is_completed(service, session, clock, learner, at, day) -> None:
    clock.at = datetime.fromisoformat(at)
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/recognitions", json=CLAIM | {"completed_on": day})
    assert answer.status_code == 201, answer.text
