"""No document appears in a new name before a registrar has decided on evidence."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from enrolment.tables import NameEvidence
from shared.directory import PersonEntry
from shared.due_rows import list_set_aside
from shared.events.credentials import TranscriptIssued
from shared.events.enrolment import LearnerNameChanged
from shared.ids import new_id
from shared.messaging import RetryLater
from shared.messaging.tables import QueuedEmail
from shared.storage import ObjectStorage
from shared.testing.stores import DAMAGES, damage

from .people import BODY, FORM, PDF, add, anonymise, decide, directory, open_request, refused, submitted


@pytest.fixture
async def learner(service, driver):
    async with service.client("learner", id=driver.learner_id) as client:
        await client.post("/v1/learners", json=FORM)
        yield client


@pytest.fixture
async def registrar(service):
    async with service.client("registrar") as client:
        yield client


def transcript(driver):
    return TranscriptIssued(
        transcript_id=new_id(),
        learner_id=driver.learner_id,
        version=1,
        sha256="0" * 64,
        as_at=datetime(2026, 11, 23, tzinfo=UTC),
    )


async def rename(learner, **changes):
    return await learner.patch("/v1/learners/me", json=changes)


async def entry_of(service, driver):
    [entry] = await directory(service).read(PersonEntry, [driver.learner_id])
    return entry


async def test_a_name_on_no_document_is_corrected_freely(service, driver, learner):
    assert (await rename(learner, family_name="Okonkwo-Reid")).json()["name_version"] == 2
    entry = await entry_of(service, driver)
    assert (entry.family_name, entry.name_decided) == ("Okonkwo-Reid", False)


@pytest.mark.parametrize("change", [{"family_name": "Smith"}, {"given_name": None}, {"certificate_name": "Smith, A."}])
@pytest.mark.parametrize("documented", ["submission", "credit", "transcript"])
async def test_a_name_on_a_document_is_not_changed_by_its_bearer(service, driver, learner, change, documented):
    [enrolment] = await driver.buy(await driver.offer())
    fact = {"submission": driver.submission, "credit": driver.credit}.get(documented)
    await driver.consume(fact(enrolment) if fact else transcript(driver))
    refused(await rename(learner, **change), 409, "name_on_documents")
    assert await driver.announced(LearnerNameChanged) == []
    shown = (await rename(learner, display_name="Ada")).json()  # how to address somebody stands on no document
    assert (shown["display_name"], shown["family_name"]) == ("Ada", "Okonkwo")
    assert (await entry_of(service, driver)).name_decided is False


@pytest.mark.parametrize("how", DAMAGES)
async def test_damaged_evidence_is_not_given_out_and_is_set_aside(service, session, learner, registrar, how):
    await submitted(learner)
    evidence = (await session.scalars(select(NameEvidence))).one()
    await damage(service.service.resources[ObjectStorage], evidence.storage_key, how)
    for reader in (learner, registrar):
        answer = await reader.get(f"/v1/name-evidence/{evidence.evidence_id}")
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    aside = {(row.job, row.row_key, row.last_error.partition("(")[0]) for row in await list_set_aside(session)}
    assert ("check_files", evidence.storage_key, "FileDamaged") in aside


@pytest.mark.parametrize("how", DAMAGES)
async def test_the_same_bytes_sent_again_heal_damaged_evidence(service, session, learner, registrar, how):
    request_id = await open_request(learner)
    first = (await add(learner, request_id)).json()
    evidence = (await session.scalars(select(NameEvidence))).one()
    await damage(service.service.resources[ObjectStorage], evidence.storage_key, how)
    address = f"/v1/name-evidence/{first['evidence_id']}"
    assert (await learner.get(address)).status_code == 503
    assert (await add(learner, request_id)).json() == first
    assert (await learner.get(address)).content == PDF
    await learner.post(f"/v1/name-requests/{request_id}/submission")
    assert (await registrar.get(address)).content == PDF


async def test_a_registrar_decides_on_evidence(service, driver, learner, registrar):
    await driver.consume(transcript(driver), transcript(driver))
    request_id = await submitted(learner, certificate_name="Okonkwo-Reid Adaeze")
    assert await driver.announced(LearnerNameChanged) == []
    [waiting] = (await registrar.get("/v1/name-requests", params={"state": "submitted"})).json()["items"]
    assert (waiting["request_id"], waiting["name_now"]["family_name"]) == (request_id, "Okonkwo")
    [evidence] = (await registrar.get(f"/v1/name-requests/{request_id}")).json()["evidence"]
    assert (await registrar.get(f"/v1/name-evidence/{evidence['evidence_id']}")).content == PDF
    decided = (await decide(registrar, request_id)).json()
    assert (decided["state"], decided["reason"]) == ("approved", "The deed shows it.")
    entry = await entry_of(service, driver)
    assert (entry.family_name, entry.certificate_name, entry.display_name, entry.name_decided, entry.name_version) == (
        "Okonkwo-Reid",
        "Okonkwo-Reid Adaeze",
        "Adaeze Okonkwo-Reid",
        True,
        2,
    )
    assert len(await driver.announced(LearnerNameChanged)) == 1
    [email] = await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "name_request_decided"))
    assert email.recipient == FORM["contact_email"]
    assert "the name Okonkwo-Reid Adaeze.\n\nIt was approved" in email.text
    assert "made anew in this name" in email.text
    refused(await decide(registrar, request_id, approved=False), 409, "name_request_not_submitted")
    await rename(learner, display_name="Ada")
    assert (await entry_of(service, driver)).name_decided is True  # the name is the same
    refused(await rename(learner, family_name="Smith"), 409, "name_on_documents")


async def test_a_registrar_sees_the_name_that_is_borne_and_what_was_replaced_is_kept(
    service, driver, learner, registrar, clock
):
    request_id = await submitted(learner)
    clock.advance(days=1)
    await rename(learner, given_name="Ada")  # on no document yet, so free
    path = f"/v1/name-requests/{request_id}"
    seen = (await registrar.get(path)).json()
    assert (seen["name_at_request"]["given_name"], seen["name_now"]["given_name"]) == ("Adaeze", "Ada")
    assert (seen["date_of_birth"], seen["replaced_name"]) == (FORM["date_of_birth"], None)
    clock.advance(days=1)
    decided = (await decide(registrar, request_id)).json()
    assert (decided["replaced_name"], decided["name_now"]["family_name"]) == (seen["name_now"], "Okonkwo-Reid")
    clock.advance(days=1)
    await decide(registrar, await submitted(learner, family_name="Reid"))
    seen = (await registrar.get(path)).json()
    assert (seen["replaced_name"]["family_name"], seen["name_now"]["family_name"]) == ("Okonkwo", "Reid")
    await anonymise(service, driver.learner_id)
    seen = (await registrar.get(path)).json()
    names = ("name_at_request", "name_now", "replaced_name", "date_of_birth")
    assert [seen[name] for name in names] == [None] * 4


async def test_who_changed_it_a_moment_too_late_asks_a_registrar(service, driver, learner, registrar):
    """Credit was awarded, and the event had not reached enrolment: documents bear the earlier name."""
    await rename(learner, family_name="Reid")
    await driver.consume(transcript(driver))
    answer = await rename(learner, family_name="Okonkwo")
    refused(answer, 409, "name_on_documents")
    assert "/v1/name-requests" in answer.json()["detail"]
    await decide(registrar, await submitted(learner, family_name="Reid"))
    entry = await entry_of(service, driver)
    assert (entry.family_name, entry.name_decided, entry.name_version) == ("Reid", True, 3)


async def test_a_certificate_name_of_other_words_is_decided(service, driver, learner, registrar):
    refused(await rename(learner, certificate_name="Prof Adaeze Okonkwo"), 422, "other_certificate_name")
    body = {"family_name": "Okonkwo", "certificate_name": "Prof Adaeze Okonkwo"}
    await decide(registrar, await submitted(learner, **body))
    assert (await entry_of(service, driver)).certificate_name == "Prof Adaeze Okonkwo"
    assert (await rename(learner, display_name="Ada")).status_code == 200
    assert (await rename(learner, certificate_name="Okonkwo Adaeze")).status_code == 200


async def test_a_refused_name_changes_nothing(service, driver, learner, registrar):
    request_id = await submitted(learner)
    assert (await decide(registrar, request_id, approved=False)).json()["state"] == "refused"
    assert (await entry_of(service, driver)).family_name == "Okonkwo"
    assert await driver.announced(LearnerNameChanged) == []
    await open_request(learner)  # and may be asked again


async def test_the_steps_of_a_request(learner, registrar):
    request_id = await open_request(learner)
    refused(await learner.post("/v1/name-requests", json=BODY), 409, "name_request_open")
    refused(await learner.post(f"/v1/name-requests/{request_id}/submission"), 409, "name_evidence_missing")
    first = (await add(learner, request_id)).json()
    assert (await add(learner, request_id, filename="again.pdf")).json()["evidence_id"] == first["evidence_id"]
    assert (await add(learner, request_id, b"MZ", "deed.exe")).status_code == 415
    for n in range(9):
        assert (await add(learner, request_id, PDF + bytes([n]))).status_code == 201
    refused(await add(learner, request_id, PDF + b"more"), 409, "too_much_name_evidence")
    await learner.post(f"/v1/name-requests/{request_id}/submission")
    refused(await learner.post(f"/v1/name-requests/{request_id}/submission"), 409, "name_request_not_draft")
    refused(await add(learner, request_id, PDF + b"late"), 409, "name_request_not_draft")
    assert (await learner.post(f"/v1/name-requests/{request_id}/withdrawal")).json()["state"] == "withdrawn"
    refused(await learner.post(f"/v1/name-requests/{request_id}/withdrawal"), 409, "name_request_closed")
    refused(await decide(registrar, request_id), 409, "name_request_not_submitted")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"family_name": "1"}, "empty_name"),
        ({"certificate_name": "-"}, "empty_name"),
        ({"certificate_name": "A\u200dB"}, "unfit_character"),
    ],
)
async def test_a_name_needs_a_letter(learner, body, code):
    refused(await learner.post("/v1/name-requests", json={**BODY, **body}), 422, code)


async def test_nobody_decides_about_their_own_name(service, driver, learner, session):
    request_id = await submitted(learner)
    async with service.client("learner", "registrar", id=driver.learner_id) as both:
        refused(await decide(both, request_id), 403, "own_name_request")
    with pytest.raises(IntegrityError, match="ck_name_requests_own"):
        async with session.begin_nested():
            await session.execute(
                text("update name_requests set state = 'approved', decided_at = now(), decided_by = learner_id::text")
            )


async def test_what_was_never_handed_in_is_nobody_elses(service, learner, registrar):
    request_id = await open_request(learner)
    evidence_id = (await add(learner, request_id)).json()["evidence_id"]
    await learner.post(f"/v1/name-requests/{request_id}/withdrawal")
    async with service.client("learner", id=new_id()) as other:
        for client in (other, registrar):
            for path in (f"/v1/name-requests/{request_id}", f"/v1/name-evidence/{evidence_id}"):
                assert (await client.get(path)).status_code == 404
            assert (await client.get("/v1/name-requests")).json()["items"] == []
        assert (await add(other, request_id)).status_code == 404
        assert (await other.post(f"/v1/name-requests/{request_id}/submission")).status_code == 404
    refused(await decide(registrar, request_id), 404, "not_found")


async def test_who_is_anonymised_has_no_request_left(service, driver, learner, session):
    await submitted(learner, certificate_name="Reid Adaeze")
    await anonymise(service, driver.learner_id)
    kept = str((await session.execute(text("select to_jsonb(r) from name_requests r"))).all())
    assert "Reid" not in kept
    assert "married" not in kept
    assert "withdrawn" in kept
    assert await session.scalar(text("select count(*) from name_evidence")) == 0


async def test_a_document_of_somebody_unknown_waits(driver):
    with pytest.raises(RetryLater):
        await driver.consume(transcript(driver))


async def test_how_a_name_is_written_on_certificates_is_the_learners_to_say(service, driver):
    async with service.client("learner", id=driver.learner_id) as client:
        answer = await client.post("/v1/learners", json=FORM | {"certificate_name": "  王   小明 "})
        assert answer.json()["certificate_name"] == "王 小明"
        assert (await entry_of(service, driver)).certificate_name == "王 小明"
        assert (await rename(client, certificate_name=None)).json()["certificate_name"] is None
        refused(await rename(client, certificate_name="?"), 422, "empty_name")


async def test_a_text_left_empty_is_said_to_lack_characters(learner):
    answer = await learner.post("/v1/name-requests", json={**BODY, "statement": " "})
    refused(answer, 422, "invalid_request")
    [error] = answer.json()["errors"]
    assert error == {"pointer": "/body/statement", "message": "String should have at least 1 character"}
