import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from assessment.tables import Attempt, Submission
from shared.events.assessment import AssessmentPassed, AttemptsExhausted, CreditAwarded, SubmissionReceived
from shared.events.enrolment import EnrolmentReinstated
from shared.ids import new_id
from shared.storage import ObjectStorage
from shared.uploads import UploadPolicy


async def test_a_submission_gets_a_receipt_and_comes_back_as_it_went(story):
    enrolment = await story.enrol()
    window_id = await story.window()
    content = story.pdf("x" * 200_000)
    receipt = await story.receipt(enrolment, content, filename="../Mein Bericht.pdf")
    assert receipt == {
        "submission_id": receipt["submission_id"],
        "enrolment_id": str(enrolment.enrolment_id),
        "attempt_no": 1,
        "window_id": str(window_id),
        "state": "current",
        "filename": "Mein Bericht.pdf",
        "kind": "pdf",
        "size": len(content),
        "sha256": story.sha256(content),
        "received_at": "2026-11-03T00:00:00Z",
    }
    file = await story.learner(enrolment).get(f"/v1/submissions/{receipt['submission_id']}/file")
    assert file.content == content
    assert file.headers["content-type"] == "application/pdf"
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''Mein%20Bericht.pdf"
    assert file.headers["x-content-type-options"] == "nosniff"
    [received] = await story.announced(SubmissionReceived)
    assert (received.attempt_no, received.sha256) == (1, story.sha256(content))


async def test_the_stored_name_tells_nothing_of_what_was_sent(story, session):
    await story.window()
    receipt = await story.receipt(await story.enrol(), filename="secret.pdf")
    submission = await session.get(Submission, UUID(receipt["submission_id"]))
    assert UUID(submission.storage_key).version == 7
    assert submission.storage_key not in str(receipt)


async def test_w1_a_file_complete_just_before_the_close_is_in_time(story):
    enrolment = await story.enrol()
    await story.window(story.clock(), story.closes)
    body = story.uploading(story.pdf(), datetime(2026, 11, 7, 23, 59, 59, 900_000, tzinfo=UTC), b"last byte")
    receipt = await story.receipt(enrolment, body)
    assert receipt["received_at"] == "2026-11-07T23:59:59.900000Z"


async def test_w2_a_file_complete_at_the_close_is_refused_and_kept_as_a_draft(story):
    enrolment = await story.enrol()
    await story.window(story.clock(), story.closes)
    content = story.pdf("late")
    answer = await story.submit(enrolment, story.uploading(story.pdf(), story.closes, b"late"))
    draft = story.refused(answer, 409, "window_closed")["draft"]
    assert (draft["state"], draft["attempt_no"], draft["sha256"]) == ("late", None, story.sha256(content))
    file = await story.learner(enrolment).get(f"/v1/submissions/{draft['submission_id']}/file")
    assert file.content == content
    assert (await story.read(enrolment))["attempts"] == []
    assert await story.announced(SubmissionReceived) == []
    story.refused(await story.mark(draft["submission_id"], 60), 409, "submission_void")


async def test_whoever_comes_too_late_reads_which_window_is_next(story):
    enrolment = await story.enrol()
    assert story.refused(await story.submit(enrolment), 409, "window_closed")["next_window"] is None
    first = await story.window(story.clock(), story.closes)
    opens, closes = story.closes + timedelta(days=3), story.closes + timedelta(days=10)
    following = await story.window(opens, closes)
    late = await story.submit(enrolment, story.uploading(story.pdf(), story.closes, b"late"))
    for answer in (late, await story.submit(enrolment), await story.submit(enrolment, window_id=first)):
        error = story.refused(answer, 409, "window_closed")
        named = error["next_window"]
        assert named["window_id"] == str(following)
        assert datetime.fromisoformat(named["opens_at"]) == opens
        assert datetime.fromisoformat(named["closes_at"]) == closes
        assert named["opens_at"] in error["detail"]
    story.clock.at = opens
    error = story.refused(await story.submit(enrolment, window_id=first), 409, "window_closed")
    assert error["next_window"]["window_id"] == str(following), "it is open by now"


@pytest.mark.parametrize(("grace_seconds", "status"), [(0, 409), (60, 201)])
async def test_w3_a_file_complete_after_the_close_needs_grace(story, grace_seconds, status):
    enrolment = await story.enrol()
    await story.window(story.clock(), story.closes, grace_seconds=grace_seconds)
    story.clock.at = datetime(2026, 11, 7, 23, 58, tzinfo=UTC)
    body = story.uploading(story.pdf(), story.closes + timedelta(seconds=20), b"slow")
    assert (await story.submit(enrolment, body)).status_code == status


async def test_w6_work_may_be_replaced_until_the_close_and_is_then_frozen(story, session):
    enrolment = await story.enrol()
    window_id = await story.window()
    receipts = []
    for text_ in ("one", "two", "three"):
        story.clock.advance(minutes=1)
        receipts.append(await story.receipt(enrolment, story.pdf(text_)))
    assert [receipt["attempt_no"] for receipt in receipts] == [1, 1, 1]
    announced = await story.announced(SubmissionReceived)
    assert [event.replaces for event in announced] == [None, *(event.submission_id for event in announced[:2])]
    await story.close(window_id)
    story.refused(await story.submit(enrolment, window_id=window_id), 409, "window_closed")
    listed = await story.learner(enrolment).get(f"/v1/assessments/{enrolment.enrolment_id}/submissions")
    assert [(one["submission_id"], one["state"]) for one in listed.json()["items"]] == [
        (receipts[2]["submission_id"], "current"),
        (receipts[1]["submission_id"], "superseded"),
        (receipts[0]["submission_id"], "superseded"),
    ]
    replaced = receipts[0]["submission_id"]
    story.refused(await story.mark(replaced, 60), 409, "submission_superseded")
    story.refused(await story.examiner.post(f"/v1/submissions/{replaced}/release"), 409, "submission_superseded")
    body = {"submission_id": replaced, "reason_code": "plagiarism"}
    story.refused(await story.examiner.post("/v1/misconduct-cases", json=body), 409, "submission_superseded")
    assert len((await session.scalars(select(Attempt))).all()) == 1


async def test_the_same_bytes_again_are_the_same_submission(story):
    enrolment = await story.enrol()
    await story.window()
    first = await story.receipt(enrolment, story.pdf("same"))
    story.clock.advance(minutes=1)
    again = await story.submit(enrolment, story.pdf("same"))
    assert again.status_code == 200
    assert again.json() == first
    assert len(await story.announced(SubmissionReceived)) == 1


async def test_receipts_come_in_pages(story):
    enrolment = await story.enrol()
    await story.window()
    for _ in range(3):
        story.clock.advance(minutes=1)
        await story.receipt(enrolment)
    path = f"/v1/assessments/{enrolment.enrolment_id}/submissions"
    page = (await story.learner(enrolment).get(path, params={"limit": 2})).json()
    rest = (await story.learner(enrolment).get(path, params={"cursor": page["next_cursor"]})).json()
    assert (len(page["items"]), len(rest["items"]), rest["next_cursor"]) == (2, 1, None)


@pytest.mark.parametrize(
    ("filename", "content", "error"),
    [
        ("report.exe", b"MZ", (415, "file_type_not_allowed")),
        ("report.pdf", b"PK\x03\x04", (415, "file_not_as_named")),
        ("report.pdf", b"", (422, "file_empty")),
        ("report", b"%PDF-", (422, "bad_file_name")),
    ],
)
async def test_a_file_that_may_not_be_handed_in_is_refused(story, session, filename, content, error):
    enrolment = await story.enrol()
    await story.window()
    story.refused(await story.submit(enrolment, content, filename=filename), *error)
    assert (await session.scalars(select(Submission))).all() == []


async def test_a_file_larger_than_announced_or_allowed_is_refused(story):
    enrolment = await story.enrol()
    await story.window()

    async def endless():
        yield story.pdf()
        while True:
            yield b"x" * 1024 * 1024

    story.refused(await story.submit(enrolment, endless()), 413, "file_too_large")


async def test_an_upload_that_stalls_is_given_up(story, service, session, monkeypatch):
    brief = replace(service.service.resources[UploadPolicy], longest=timedelta(seconds=0.2))
    monkeypatch.setitem(service.process.api.state.resources, UploadPolicy, brief)
    enrolment = await story.enrol()
    await story.window()

    async def stalls():
        yield story.pdf()
        await asyncio.sleep(60)

    story.refused(await story.submit(enrolment, stalls()), 408, "upload_too_slow")
    assert (await session.scalars(select(Submission))).all() == []


async def test_an_upload_that_breaks_off_leaves_nothing(story, service, session):
    enrolment = await story.enrol()
    await story.window()
    sent = iter(
        [
            {"type": "http.request", "body": story.pdf(), "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    answered = []

    async def receive():
        return next(sent)

    async def send(message):
        answered.append(message)

    token = service.issuer.token("learner", id=enrolment.learner_id)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "PUT",
        "path": f"/v1/assessments/{enrolment.enrolment_id}/submission",
        "raw_path": b"",
        "query_string": b"filename=report.pdf",
        "headers": [(b"authorization", f"Bearer {token}".encode()), (b"content-length", b"1000")],
        "scheme": "http",
        "server": ("service", 80),
        "client": ("test", 1),
        "root_path": "",
    }
    await service.process.app(scope, receive, send)
    assert answered[0]["status"] == 400
    assert b"upload_interrupted" in answered[1]["body"]
    assert (await session.scalars(select(Submission))).all() == []


async def test_who_is_too_early_for_a_window_reads_of_the_one_that_is_open(story):
    enrolment, open_now = await story.enrol(), await story.window()
    later = await story.window(story.clock() + timedelta(days=90))
    early = await story.submit(enrolment, window_id=later)
    story.refused(early, 409, "window_not_open")
    assert early.json()["open_window"]["window_id"] == str(open_now)
    assert "another is open until" in early.json()["detail"]


async def test_without_an_open_window_nothing_is_taken(story):
    enrolment = await story.enrol()
    story.refused(await story.submit(enrolment), 409, "window_closed")
    later = await story.window(story.clock() + timedelta(days=1))
    story.refused(await story.submit(enrolment, window_id=later), 409, "window_not_open")
    early = (await story.submit(enrolment, window_id=later)).json()
    assert early["open_window"] is None
    story.refused(await story.submit(enrolment, window_id=new_id()), 404, "not_found")
    seen = await story.read(enrolment)
    assert (seen["submission"]["possible"], seen["submission"]["code"]) == (False, "window_closed")
    assert seen["next_window"]["window_id"] == str(later)


async def test_work_goes_to_the_open_window_that_closes_first(story):
    enrolment = await story.enrol()
    await story.window(closes_at=story.clock() + timedelta(days=5))
    soon = await story.window(closes_at=story.clock() + timedelta(days=1))
    assert (await story.read(enrolment))["submission"] == {
        "possible": True,
        "window_id": str(soon),
        "code": None,
        "detail": None,
    }
    assert (await story.receipt(enrolment))["window_id"] == str(soon)


async def test_a_suspended_enrolment_hands_nothing_in_until_it_is_reinstated(story):
    enrolment = await story.enrol()
    await story.window()
    await story.suspend(enrolment)
    story.refused(await story.submit(enrolment), 403, "enrolment_suspended")
    assert (await story.read(enrolment))["submission"]["code"] == "enrolment_suspended"
    await story.consume(
        EnrolmentReinstated(
            enrolment_id=enrolment.enrolment_id,
            learner_id=enrolment.learner_id,
            sequence=3,
            reinstated_at=story.clock(),
        )
    )
    assert (await story.submit(enrolment)).status_code == 201


async def test_an_enrolment_cancelled_while_the_file_streams_takes_nothing(story):
    enrolment = await story.enrol()
    await story.window()

    async def body():
        yield story.pdf()
        await story.cancel(enrolment)
        yield b"more"

    story.refused(await story.submit(enrolment, body()), 403, "enrolment_cancelled")
    story.refused(await story.submit(enrolment), 403, "enrolment_cancelled")
    assert (await story.read(enrolment))["attempts"] == []


async def test_no_connection_is_held_while_files_stream(live, story_class):
    story = story_class(live, None, live.clock)
    enrolments = [await story.enrol_live() for _ in range(30)]
    await story.window(opens_at=live.clock() - timedelta(days=1))
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def body(number):
        yield story.pdf(str(number))
        begun.release()
        await go_on.wait()
        yield b"end"

    uploads = [asyncio.create_task(story.submit(one, body(n))) for n, one in enumerate(enrolments)]
    for _ in uploads:
        await asyncio.wait_for(begun.acquire(), 10)
    assert live.process.database.web.pool.checkedout() == 0
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*uploads)} == {201}


async def test_two_uploads_at_once_make_one_attempt_with_one_current_file(live, story_class):
    story = story_class(live, None, live.clock)
    enrolment = await story.enrol_live()
    await story.window(opens_at=live.clock() - timedelta(days=1))
    answers = await asyncio.gather(*(story.submit(enrolment, story.pdf(str(n))) for n in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    async with live.process.database.transaction() as session:
        assert len((await session.scalars(select(Attempt))).all()) == 1
        states = sorted(await session.scalars(select(Submission.state)))
    assert states == ["current"] + ["superseded"] * 5


# Attempts


async def test_r1_after_a_ratified_fail_the_next_attempt_is_taken(story):
    enrolment = await story.enrol()
    await story.attempt(enrolment, 49)
    await story.window()
    assert (await story.receipt(enrolment))["attempt_no"] == 2


async def test_r2_a_resit_is_recorded_with_the_cap_and_keeps_its_raw_mark(story):
    enrolment = await story.enrol()
    await story.attempt(enrolment, 49)
    await story.attempt(enrolment, 74)
    result = (await story.read(enrolment))["attempts"][1]["result"]
    assert (result["mark"], result["raw_mark"], result["capped"], result["passed"]) == ("50", "74", True, True)
    [credit] = await story.announced(CreditAwarded)
    assert (credit.mark, credit.credits, credit.attempt_no) == (50, 15, 2)
    [passed] = await story.announced(AssessmentPassed)
    assert (passed.mark, passed.capped) == (50, True)


async def test_r3_after_three_fails_only_a_new_enrolment_gives_new_attempts(story):
    course = story.course()
    enrolment = await story.enrol(course)
    for mark in (38, 44):
        await story.attempt(enrolment, mark)
    window_id = await story.attempt(enrolment, 49, ratified=False)
    assert await story.announced(AttemptsExhausted) == []
    await story.board(window_id)
    [exhausted] = await story.announced(AttemptsExhausted)
    assert (exhausted.enrolment_id, exhausted.attempts_used) == (enrolment.enrolment_id, 3)
    await story.window()
    story.refused(await story.submit(enrolment), 409, "attempts_exhausted")
    again = await story.enrol(course, learner_id=enrolment.learner_id)
    assert (await story.receipt(again))["attempt_no"] == 1
    assert await story.announced(CreditAwarded) == []


async def test_r4_a_passed_course_is_not_taken_again(story):
    enrolment = await story.enrol()
    await story.attempt(enrolment, 51)
    await story.window()
    story.refused(await story.submit(enrolment), 409, "already_passed")
    assert (await story.read(enrolment))["attempts_left"] == 0


async def test_r6_while_the_result_is_pending_nothing_further_is_taken(story):
    enrolment = await story.enrol()
    window_id = await story.window()
    receipt = await story.receipt(enrolment)
    await story.close(window_id)
    await story.window()
    story.refused(await story.submit(enrolment), 409, "pending_result")
    await story.mark(receipt["submission_id"], 20)
    story.refused(await story.submit(enrolment), 409, "pending_result")
    await story.release(window_id)
    assert (await story.receipt(enrolment))["attempt_no"] == 2


async def test_a_missing_file_is_reported_plainly(story, service, session):
    await story.window()
    enrolment = await story.enrol()
    receipt = await story.receipt(enrolment)
    submission = await session.get(Submission, UUID(receipt["submission_id"]))
    await service.service.resources[ObjectStorage].delete(submission.storage_key)
    answer = await story.learner(enrolment).get(f"/v1/submissions/{receipt['submission_id']}/file")
    story.refused(answer, 503, "storage_unavailable")
