import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from assessment.tables import Attempt, Submission
from shared.events.assessment import SubmissionReceived
from shared.events.enrolment import EnrolmentReinstated
from shared.ids import new_id
from shared.uploads import UploadPolicy


async def test_a_submission_gets_a_receipt_and_comes_back_as_it_went(driver):
    enrolment = await driver.enrol()
    window_id = await driver.window()
    content = driver.pdf("x" * 200_000)
    receipt = await driver.receipt(enrolment, content, filename="../Mein Bericht.pdf")
    assert receipt == {
        "submission_id": receipt["submission_id"],
        "enrolment_id": str(enrolment.enrolment_id),
        "attempt_no": 1,
        "window_id": str(window_id),
        "state": "current",
        "filename": "Mein Bericht.pdf",
        "kind": "pdf",
        "size": len(content),
        "sha256": driver.sha256(content),
        "received_at": "2026-11-03T00:00:00Z",
        "current_submission_id": receipt["submission_id"],
    }
    file = await driver.learner(enrolment).get(f"/v1/submissions/{receipt['submission_id']}/file")
    assert file.content == content
    assert file.headers["content-type"] == "application/pdf"
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''Mein%20Bericht.pdf"
    assert file.headers["x-content-type-options"] == "nosniff"
    [received] = await driver.announced(SubmissionReceived)
    assert (received.attempt_no, received.sha256) == (1, driver.sha256(content))


async def test_the_stored_name_tells_nothing_of_what_was_sent(driver, session):
    await driver.window()
    receipt = await driver.receipt(await driver.enrol(), filename="secret.pdf")
    submission = await session.get(Submission, UUID(receipt["submission_id"]))
    assert UUID(submission.storage_key).version == 7
    assert submission.storage_key not in str(receipt)


async def test_w1_a_file_complete_just_before_the_close_is_in_time(driver):
    enrolment = await driver.enrol()
    await driver.window(driver.clock(), driver.closes)
    body = driver.uploading(driver.pdf(), datetime(2026, 11, 7, 23, 59, 59, 900_000, tzinfo=UTC), b"last byte")
    receipt = await driver.receipt(enrolment, body)
    assert receipt["received_at"] == "2026-11-07T23:59:59.900000Z"


async def test_w2_a_file_complete_at_the_close_is_refused_and_kept_as_a_draft(driver):
    enrolment = await driver.enrol()
    await driver.window(driver.clock(), driver.closes)
    content = driver.pdf("late")
    answer = await driver.submit(enrolment, driver.uploading(driver.pdf(), driver.closes, b"late"))
    draft = driver.refused(answer, 409, "window_closed")["draft"]
    assert (draft["state"], draft["attempt_no"], draft["sha256"]) == ("late", None, driver.sha256(content))
    file = await driver.learner(enrolment).get(f"/v1/submissions/{draft['submission_id']}/file")
    assert file.content == content
    assert (await driver.read(enrolment))["attempts"] == []
    assert await driver.announced(SubmissionReceived) == []
    driver.refused(await driver.mark(draft["submission_id"], 60), 409, "submission_void")


async def test_whoever_comes_too_late_reads_which_window_is_next(driver):
    enrolment = await driver.enrol()
    assert driver.refused(await driver.submit(enrolment), 409, "window_closed")["next_window"] is None
    first = await driver.window(driver.clock(), driver.closes)
    opens, closes = driver.closes + timedelta(days=3), driver.closes + timedelta(days=10)
    following = await driver.window(opens, closes)
    late = await driver.submit(enrolment, driver.uploading(driver.pdf(), driver.closes, b"late"))
    for answer in (late, await driver.submit(enrolment), await driver.submit(enrolment, window_id=first)):
        error = driver.refused(answer, 409, "window_closed")
        named = error["next_window"]
        assert named["window_id"] == str(following)
        assert datetime.fromisoformat(named["opens_at"]) == opens
        assert datetime.fromisoformat(named["closes_at"]) == closes
        assert named["opens_at"] in error["detail"]
    driver.clock.at = opens
    error = driver.refused(await driver.submit(enrolment, window_id=first), 409, "window_closed")
    assert error["next_window"]["window_id"] == str(following), "it is open by now"


@pytest.mark.parametrize(("grace_seconds", "status"), [(0, 409), (60, 201)])
async def test_w3_a_file_complete_after_the_close_needs_grace(driver, grace_seconds, status):
    enrolment = await driver.enrol()
    await driver.window(driver.clock(), driver.closes, grace_seconds=grace_seconds)
    driver.clock.at = datetime(2026, 11, 7, 23, 58, tzinfo=UTC)
    body = driver.uploading(driver.pdf(), driver.closes + timedelta(seconds=20), b"slow")
    assert (await driver.submit(enrolment, body)).status_code == status


async def test_w6_work_may_be_replaced_until_the_close_and_is_then_frozen(driver, session):
    enrolment = await driver.enrol()
    window_id = await driver.window()
    receipts = []
    for text_ in ("one", "two", "three"):
        driver.clock.advance(minutes=1)
        receipts.append(await driver.receipt(enrolment, driver.pdf(text_)))
    assert [receipt["attempt_no"] for receipt in receipts] == [1, 1, 1]
    announced = await driver.announced(SubmissionReceived)
    assert [event.replaces for event in announced] == [None, *(event.submission_id for event in announced[:2])]
    await driver.close(window_id)
    driver.refused(await driver.submit(enrolment, window_id=window_id), 409, "window_closed")
    listed = await driver.learner(enrolment).get(f"/v1/assessments/{enrolment.enrolment_id}/submissions")
    assert [(one["submission_id"], one["state"]) for one in listed.json()["items"]] == [
        (receipts[2]["submission_id"], "current"),
        (receipts[1]["submission_id"], "superseded"),
        (receipts[0]["submission_id"], "superseded"),
    ]
    replaced = receipts[0]["submission_id"]
    driver.refused(await driver.mark(replaced, 60), 409, "submission_superseded")
    driver.refused(await driver.examiner.post(f"/v1/submissions/{replaced}/release"), 409, "submission_superseded")
    body = {"submission_id": replaced, "reason_code": "plagiarism"}
    driver.refused(await driver.examiner.post("/v1/misconduct-cases", json=body), 409, "submission_superseded")
    assert len((await session.scalars(select(Attempt))).all()) == 1


async def test_the_same_bytes_again_are_the_same_submission(driver):
    enrolment = await driver.enrol()
    await driver.window()
    first = await driver.receipt(enrolment, driver.pdf("same"))
    driver.clock.advance(minutes=1)
    again = await driver.submit(enrolment, driver.pdf("same"))
    assert again.status_code == 200
    assert again.json() == first
    assert len(await driver.announced(SubmissionReceived)) == 1


async def test_receipts_come_in_pages(driver):
    enrolment = await driver.enrol()
    await driver.window()
    for _ in range(3):
        driver.clock.advance(minutes=1)
        await driver.receipt(enrolment)
    path = f"/v1/assessments/{enrolment.enrolment_id}/submissions"
    page = (await driver.learner(enrolment).get(path, params={"limit": 2})).json()
    rest = (await driver.learner(enrolment).get(path, params={"cursor": page["next_cursor"]})).json()
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
async def test_a_file_that_may_not_be_handed_in_is_refused(driver, session, filename, content, error):
    enrolment = await driver.enrol()
    await driver.window()
    driver.refused(await driver.submit(enrolment, content, filename=filename), *error)
    assert (await session.scalars(select(Submission))).all() == []


async def test_a_file_larger_than_announced_or_allowed_is_refused(driver):
    enrolment = await driver.enrol()
    await driver.window()

    async def endless():
        yield driver.pdf()
        while True:
            yield b"x" * 1024 * 1024

    driver.refused(await driver.submit(enrolment, endless()), 413, "file_too_large")


async def test_an_upload_that_stalls_is_given_up(driver, service, session, monkeypatch):
    brief = replace(service.service.resources[UploadPolicy], longest=timedelta(seconds=0.2))
    monkeypatch.setitem(service.process.api.state.resources, UploadPolicy, brief)
    enrolment = await driver.enrol()
    await driver.window()

    async def stalls():
        yield driver.pdf()
        await asyncio.sleep(60)

    driver.refused(await driver.submit(enrolment, stalls()), 408, "upload_too_slow")
    assert (await session.scalars(select(Submission))).all() == []


async def test_an_upload_that_breaks_off_leaves_nothing(driver, service, session):
    enrolment = await driver.enrol()
    await driver.window()
    sent = iter(
        [
            {"type": "http.request", "body": driver.pdf(), "more_body": True},
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


async def test_who_is_too_early_for_a_window_reads_of_the_one_that_is_open(driver):
    enrolment, open_now = await driver.enrol(), await driver.window()
    later = await driver.window(driver.clock() + timedelta(days=90))
    early = await driver.submit(enrolment, window_id=later)
    driver.refused(early, 409, "window_not_open")
    assert early.json()["open_window"]["window_id"] == str(open_now)
    assert "another is open until" in early.json()["detail"]


async def test_without_an_open_window_nothing_is_taken(driver):
    enrolment = await driver.enrol()
    driver.refused(await driver.submit(enrolment), 409, "window_closed")
    later = await driver.window(driver.clock() + timedelta(days=1))
    driver.refused(await driver.submit(enrolment, window_id=later), 409, "window_not_open")
    early = (await driver.submit(enrolment, window_id=later)).json()
    assert early["open_window"] is None
    driver.refused(await driver.submit(enrolment, window_id=new_id()), 404, "not_found")
    seen = await driver.read(enrolment)
    assert (seen["submission"]["possible"], seen["submission"]["code"]) == (False, "window_closed")
    assert seen["next_window"]["window_id"] == str(later)


async def test_work_goes_to_the_open_window_that_closes_first(driver):
    enrolment = await driver.enrol()
    await driver.window(closes_at=driver.clock() + timedelta(days=5))
    soon = await driver.window(closes_at=driver.clock() + timedelta(days=1))
    assert (await driver.read(enrolment))["submission"] == {
        "possible": True,
        "window_id": str(soon),
        "code": None,
        "detail": None,
    }
    assert (await driver.receipt(enrolment))["window_id"] == str(soon)


async def test_a_suspended_enrolment_hands_nothing_in_until_it_is_reinstated(driver):
    enrolment = await driver.enrol()
    await driver.window()
    await driver.suspend(enrolment)
    driver.refused(await driver.submit(enrolment), 403, "enrolment_suspended")
    assert (await driver.read(enrolment))["submission"]["code"] == "enrolment_suspended"
    await driver.consume(
        EnrolmentReinstated(
            enrolment_id=enrolment.enrolment_id,
            learner_id=enrolment.learner_id,
            sequence=3,
            reinstated_at=driver.clock(),
        )
    )
    assert (await driver.submit(enrolment)).status_code == 201


async def test_an_enrolment_cancelled_while_the_file_streams_takes_nothing(driver):
    enrolment = await driver.enrol()
    await driver.window()

    async def body():
        yield driver.pdf()
        await driver.cancel(enrolment)
        yield b"more"

    driver.refused(await driver.submit(enrolment, body()), 403, "enrolment_cancelled")
    driver.refused(await driver.submit(enrolment), 403, "enrolment_cancelled")
    assert (await driver.read(enrolment))["attempts"] == []


async def test_no_connection_is_held_while_files_stream(live, driver_class):
    driver = driver_class(live, None, live.clock)
    enrolments = [await driver.enrol_live() for _ in range(30)]
    await driver.window(opens_at=live.clock() - timedelta(days=1))
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def body(number):
        yield driver.pdf(str(number))
        begun.release()
        await go_on.wait()
        yield b"end"

    uploads = [asyncio.create_task(driver.submit(one, body(n))) for n, one in enumerate(enrolments)]
    for _ in uploads:
        await asyncio.wait_for(begun.acquire(), 10)
    assert live.process.database.web.pool.checkedout() == 0
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*uploads)} == {201}


async def test_two_uploads_at_once_make_one_attempt_with_one_current_file(live, driver_class):
    driver = driver_class(live, None, live.clock)
    enrolment = await driver.enrol_live()
    await driver.window(opens_at=live.clock() - timedelta(days=1))
    answers = await asyncio.gather(*(driver.submit(enrolment, driver.pdf(str(n))) for n in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    async with live.process.database.transaction() as session:
        assert len((await session.scalars(select(Attempt))).all()) == 1
        states = sorted(await session.scalars(select(Submission.state)))
    assert states == ["current"] + ["superseded"] * 5


@pytest.mark.parametrize("first", [0, 1])
async def test_of_two_files_sent_at_once_for_two_windows_one_counts_and_the_other_is_told_which(driver, session, first):
    """Whichever is recorded first; while its window takes work, the other file can take its place there."""
    enrolment = await driver.enrol()
    windows = [await driver.window(closes_at=driver.clock() + timedelta(days=days)) for days in (3, 5)]
    standing, refused = windows[first], windows[1 - first]
    receipt = {}

    async def overtaken():
        yield driver.pdf("slower")
        receipt.update(await driver.receipt(enrolment, driver.pdf("faster"), window_id=standing))
        driver.clock.advance(seconds=1)
        yield b"its last byte comes later"

    answer = await driver.submit(enrolment, overtaken(), window_id=refused)
    driver.refused(answer, 409, "pending_result")
    assert answer.json()["pending_window_id"] == str(standing) == receipt["window_id"]
    assert "not kept" in answer.json()["detail"]
    stored = (await session.execute(select(Submission.state, Submission.window_id))).all()
    assert [tuple(one) for one in stored] == [("current", standing)]
    again = await driver.receipt(enrolment, driver.pdf("slower"), window_id=answer.json()["pending_window_id"])
    assert again["current_submission_id"] == again["submission_id"] != receipt["submission_id"]
