"""HTTP in and out."""

import pytest
from sqlalchemy import select

from enrolment.domain import regulations
from enrolment.jobs import settle_waiting_lines
from enrolment.tables import Declaration, Learner, Name
from shared.events.enrolment import (
    EligibilityDeclared,
    EnrolmentCancelled,
    EnrolmentReinstated,
    LearnerRegistered,
)
from shared.ids import new_id

from .people import FORM


@pytest.fixture
async def learner(service, driver):
    async with service.client("learner", id=driver.learner_id) as client:
        yield client


# --- registering


async def test_anyone_reads_the_wording_and_sees_when_they_have_it_already(service, session, clock):
    async with service.client() as stranger:
        answer = await stranger.get("/v1/declarations/current")
        again = await stranger.get("/v1/declarations/current", headers={"If-None-Match": answer.headers["etag"]})
    assert answer.status_code == 200
    assert [one["criterion"] for one in answer.json()["criteria"]] == ["degree_or_experience", "english_proficiency"]
    assert (again.status_code, again.content) == (304, b"")


async def test_the_short_form_registers_the_account(learner, driver, clock):
    answer = await learner.post("/v1/learners", json=FORM)
    assert answer.status_code == 201
    body = answer.json()
    assert body["learner_id"] == str(driver.learner_id)
    assert (body["display_name"], body["name_version"]) == ("Adaeze Okonkwo", 1)
    assert body["declaration"] == {"version": "2026.1", "declared_at": "2026-11-23T12:00:00Z"}
    assert (await learner.get("/v1/learners/me")).json() == body

    registered, declared = await driver.announced(LearnerRegistered, EligibilityDeclared)
    assert (registered.learner_id, registered.registered_at) == (driver.learner_id, clock())
    kept = await driver.session.get(Declaration, (driver.learner_id, "2026.1"))
    assert kept.answers == FORM["declaration"]["answers"]
    assert declared.answers_sha256 == kept.sha256


async def test_an_account_registers_once(learner, driver):
    first = await learner.post("/v1/learners", json=FORM, headers={"Idempotency-Key": "one"})
    repeated = await learner.post("/v1/learners", json=FORM, headers={"Idempotency-Key": "one"})
    assert (repeated.status_code, repeated.json()) == (201, first.json())
    again = await learner.post("/v1/learners", json=FORM)
    assert (again.status_code, again.json()["code"]) == (409, "already_registered")
    assert len(await driver.announced(LearnerRegistered)) == 1


async def test_registering_needs_an_idempotency_key(learner):
    answer = await learner.post("/v1/learners", json=FORM, headers={"Idempotency-Key": ""})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"declaration": {"version": "2025.1", "answers": {}}}, 409, "declaration_outdated"),
        (
            {
                "declaration": {
                    "version": "2026.1",
                    "answers": {"degree_or_experience": True, "english_proficiency": False},
                }
            },
            422,
            "criteria_not_affirmed",
        ),
        ({"country": "XX"}, 422, "unknown_country"),
        ({"date_of_birth": "2030-01-01"}, 422, "implausible_date_of_birth"),
        ({"family_name": "?!"}, 422, "empty_name"),
        ({"family_name": "A\u200dB"}, 422, "unfit_character"),
        ({"family_name": "A\u202eB"}, 422, "invalid_request"),
        ({"certificate_name": "Okonkwo Adaeze, Distinction"}, 422, "other_certificate_name"),
        ({"family_name": ""}, 422, "invalid_request"),
        ({"family_name": "A\u0000B"}, 422, "invalid_request"),
        ({"contact_email": "nobody"}, 422, "invalid_request"),
        ({"learner_id": str(new_id())}, 422, "invalid_request"),
        ({"declaration": {"version": "2026.1", "answers": {"degree_or_experience": "maybe"}}}, 422, "invalid_request"),
    ],
)
async def test_what_the_short_form_refuses(learner, driver, change, status, code):
    answer = await learner.post("/v1/learners", json={**FORM, **change})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await driver.session.get(Learner, driver.learner_id) is None


async def test_before_the_short_form_there_is_no_learner(learner):
    for path in ("/v1/learners/me", "/v1/study-record"):
        answer = await learner.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_registered")
    answer = await learner.patch("/v1/learners/me", json={"country": "FR"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_registered")


async def test_a_changed_name_is_a_new_version_and_the_old_one_stays(learner, driver):
    await learner.post("/v1/learners", json=FORM)
    changed = (await learner.patch("/v1/learners/me", json={"family_name": "Okonkwo-Reid"})).json()
    assert (changed["display_name"], changed["name_version"]) == ("Adaeze Okonkwo-Reid", 2)
    same = (await learner.patch("/v1/learners/me", json={"family_name": "Okonkwo-Reid", "country": "NG"})).json()
    assert (same["name_version"], same["country"]) == (2, "NG")
    names = await driver.session.scalars(select(Name.family_name).order_by(Name.version))
    assert list(names) == ["Okonkwo", "Okonkwo-Reid"]


async def test_particulars_are_changed_one_by_one(learner):
    before = (await learner.post("/v1/learners", json=FORM)).json()
    after = (await learner.patch("/v1/learners/me", json={"country": "NG"})).json()
    assert after == {**before, "country": "NG"}
    assert (await learner.patch("/v1/learners/me", json={"date_of_birth": None})).json()["date_of_birth"] is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"country": "XX"}, "unknown_country"),
        ({"date_of_birth": "2030-01-01"}, "implausible_date_of_birth"),
        ({"given_name": "1"}, "empty_name"),
        ({"display_name": "Ada 1"}, "unfit_character"),
        ({"certificate_name": "Dr Okonkwo Adaeze"}, "other_certificate_name"),
        ({"name_version": 7}, "invalid_request"),
    ],
)
async def test_particulars_refuse_what_the_short_form_refuses(learner, change, code):
    await learner.post("/v1/learners", json=FORM)
    answer = await learner.patch("/v1/learners/me", json=change)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


# --- enrolments


async def test_enrolments_are_listed_newest_first_by_pages(learner, driver, clock):
    await driver.register()
    bought = []
    for _ in range(3):
        clock.advance(minutes=1)
        bought += await driver.buy(await driver.offer())
    first = (await learner.get("/v1/enrolments", params={"limit": 2})).json()
    second = (await learner.get("/v1/enrolments", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    listed = [item["enrolment_id"] for item in first["items"] + second["items"]]
    assert listed == [str(one.enrolment_id) for one in reversed(bought)]
    assert second["next_cursor"] is None


async def test_an_enrolment_tells_its_course_status_entitlements_and_states(learner, driver):
    await driver.register()
    offered = await driver.offer(units=4, title="Data Engineering")
    paid = driver.payment(offered)
    await driver.consume(paid, driver.reversal(paid))
    [item] = (await learner.get("/v1/enrolments")).json()["items"]
    body = (await learner.get(f"/v1/enrolments/{item['enrolment_id']}")).json()
    assert body["course"]["title"] == "Data Engineering"
    assert (body["status"], body["reason_code"], body["entitlements"]) == ("suspended", "verification_failed", [])
    assert [(one["sequence"], one["status"]) for one in body["states"]] == [(1, "active"), (2, "suspended")]
    assert body["progress"] == {"units": 4, "started": 0, "finished": 0, "percent": 0}
    assert item.items() <= body.items()


async def test_a_learner_withdraws_once(learner, driver):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer())
    path = f"/v1/enrolments/{enrolment.enrolment_id}/withdrawal"
    answer = await learner.post(path)
    assert answer.status_code == 201
    assert (answer.json()["status"], answer.json()["reason_code"]) == ("cancelled", "withdrawn")
    again = await learner.post(path)
    assert (again.status_code, again.json()["code"]) == (409, "enrolment_not_open")
    assert len(await driver.announced(EnrolmentCancelled)) == 1


async def test_a_completed_enrolment_is_not_withdrawn_from(learner, driver):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer())
    await driver.consume(driver.credit(enrolment))
    answer = await learner.post(f"/v1/enrolments/{enrolment.enrolment_id}/withdrawal")
    assert (answer.status_code, answer.json()["code"]) == (409, "enrolment_not_open")


async def test_finance_reinstates_a_suspended_enrolment(service, driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    path = f"/v1/enrolments/{enrolment.enrolment_id}/reinstatement"
    async with service.client("finance") as finance:
        early = await finance.post(path, json={"reason_code": "repaid"})
        assert (early.status_code, early.json()["code"]) == (409, "enrolment_not_suspended")
        await driver.consume(driver.reversal(paid, at=service.clock()))
        async with service.client("learner", "finance", id=driver.learner_id) as own:
            refused = await own.post(path, json={"reason_code": "repaid"})
            assert (refused.status_code, refused.json()["code"]) == (403, "own_enrolment")
        answer = await finance.post(path, json={"reason_code": "repaid"})
        unknown = await finance.post(f"/v1/enrolments/{new_id()}/reinstatement", json={"reason_code": "repaid"})
    assert (answer.status_code, answer.json()["status"]) == (201, "active")
    assert unknown.status_code == 404
    assert len(await driver.announced(EnrolmentReinstated)) == 1
    await driver.assert_record_stands()


# --- materials and progress


async def test_an_active_learner_reads_the_study_text(learner, driver):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer(units=3))
    base = f"/v1/enrolments/{enrolment.enrolment_id}/units"
    first = (await learner.get(base, params={"limit": 2})).json()
    second = (await learner.get(base, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [one["position"] for one in first["items"] + second["items"]] == [1, 2, 3]
    assert "text" not in first["items"][0]
    unit = (await learner.get(f"{base}/{first['items'][0]['unit_id']}")).json()
    assert unit["text"] == "## Study\nthis"
    assert (unit["status"], unit["started_at"]) == ("not_started", None)


@pytest.mark.parametrize("end", ["refund", "reversal", "exhausted", "withdrawal"])
async def test_an_enrolment_that_is_not_active_opens_no_materials(learner, driver, end):
    await driver.register()
    paid = driver.payment(await driver.offer(units=1))
    await driver.consume(paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    base = f"/v1/enrolments/{enrolment.enrolment_id}/units"
    unit = (await learner.get(base)).json()["items"][0]["unit_id"]
    assert (await learner.get(f"{base}/{unit}")).status_code == 200
    if end == "withdrawal":
        await learner.post(f"/v1/enrolments/{enrolment.enrolment_id}/withdrawal")
    elif end == "exhausted":
        await driver.consume(driver.exhausted(enrolment))
    else:
        await driver.consume(getattr(driver, end)(paid))
    refusals = [
        await learner.get(f"{base}/{unit}"),
        await learner.put(f"{base}/{unit}/progress", json={"status": "started"}),
    ]
    assert [(one.status_code, one.json()["code"]) for one in refusals] == [(403, "materials_closed")] * 2


async def test_a_completed_learner_goes_on_reading(learner, driver):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer(units=1))
    base = f"/v1/enrolments/{enrolment.enrolment_id}/units"
    unit = (await learner.get(base)).json()["items"][0]["unit_id"]
    await driver.consume(driver.credit(enrolment))
    assert (await learner.get(f"{base}/{unit}")).status_code == 200


async def test_progress_goes_forward_only(learner, driver, clock):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer(units=3))
    base = f"/v1/enrolments/{enrolment.enrolment_id}/units"
    unit = (await learner.get(base)).json()["items"][0]["unit_id"]

    async def put(status):
        clock.advance(minutes=1)
        return (await learner.put(f"{base}/{unit}/progress", json={"status": status})).json()["progress"]

    assert await put("started") == {"units": 3, "started": 1, "finished": 0, "percent": 0}
    assert await put("finished") == {"units": 3, "started": 1, "finished": 1, "percent": 33}
    assert await put("started") == {"units": 3, "started": 1, "finished": 1, "percent": 33}
    assert await put("finished") == {"units": 3, "started": 1, "finished": 1, "percent": 33}
    progress = (await learner.get(f"{base}/{unit}")).json()
    assert (progress["status"], progress["started_at"], progress["finished_at"]) == (
        "finished",
        "2026-11-23T12:01:00Z",
        "2026-11-23T12:02:00Z",
    )


async def test_progress_through_what_is_not_of_the_course_is_refused(learner, driver):
    await driver.register()
    other = driver.materials(await driver.offer(), 1)
    await driver.consume(other)
    [enrolment] = await driver.buy(await driver.offer(units=1))
    base = f"/v1/enrolments/{enrolment.enrolment_id}/units"
    for unit in (new_id(), other.units[0].unit_id):
        assert (await learner.get(f"{base}/{unit}")).status_code == 404
        assert (await learner.put(f"{base}/{unit}/progress", json={"status": "started"})).status_code == 404
    unit = (await learner.get(base)).json()["items"][0]["unit_id"]
    refused = await learner.put(f"{base}/{unit}/progress", json={"status": "not_started"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_materials_announced_again_change_nothing(learner, driver):
    await driver.register()
    offered = await driver.offer()
    materials = driver.materials(offered, 2)
    await driver.consume(materials, materials)
    [enrolment] = await driver.buy(offered)
    assert len((await learner.get(f"/v1/enrolments/{enrolment.enrolment_id}/units")).json()["items"]) == 2


# --- the study record


async def test_the_study_record_tells_everything_in_one_read(learner, driver, work, clock):
    await driver.register()
    offered = await driver.offer(units=2, title="Data Engineering")
    [enrolment] = await driver.buy(offered)
    await driver.consume(driver.payment(offered))
    clock.at += regulations.in_force(clock()).activation_wait
    await settle_waiting_lines(work)
    submission = driver.submission(enrolment)
    credit = driver.credit(enrolment, submission.submission_id)
    await driver.consume(credit, driver.result(enrolment, submission, "68"), submission)

    body = (await learner.get("/v1/study-record")).json()

    [study] = body["enrolments"]
    assert (study["course"]["title"], study["status"]) == ("Data Engineering", "completed")
    assert study["progress"]["units"] == 2
    assert [one["status"] for one in study["submissions"]] == ["received"]
    assert [(one["mark"], one["standing"]) for one in study["results"]] == [("68", "ratified")]
    assert [one["reason_code"] for one in body["not_activated"]] == ["already_enrolled"]
    assert (body["credits_total"], body["credits"][0]["mark"]) == (15, "68")
    assert (body["badges"], body["awards"], body["award_eligibility"]) == ([], [], [])


async def test_operators_compare_records_with_their_rebuild(service, driver):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer())
    async with service.client("operator") as operator:
        good = (await operator.get("/v1/study-record-comparison", params={"limit": 100})).json()
        assert (good["compared"], good["differing"], good["next_cursor"]) == (1, [], None)
        enrolment.status = "failed"  # as if something had gone wrong
        await driver.session.commit()
        bad = (await operator.get("/v1/study-record-comparison")).json()
    assert bad["differing"] == [str(driver.learner_id)]


async def test_an_advisor_asking_for_a_stranger_gets_404(service, driver):
    async with service.client("advisor") as advisor:
        answer = await advisor.get(f"/v1/learners/{new_id()}/study-record")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_registered")


# --- races, on a database with real commits


async def test_every_operation_is_described_with_examples(service):
    document = service.process.api.openapi()
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["description"]
    for name in ("ShortForm", "Particulars", "ProgressStep", "EnrolmentView", "StudyRecordView", "LearnerView"):
        properties = document["components"]["schemas"][name]["properties"].values()
        assert any("examples" in one for one in properties), name
