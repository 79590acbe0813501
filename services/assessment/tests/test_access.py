from uuid import UUID

from shared.ids import new_id
from shared.testing.access import access_failures


async def test_every_operation_admits_whom_the_table_names_and_nobody_else(service, session):
    assert await access_failures(service) == []


async def test_what_is_another_learners_looks_missing(driver, service):
    enrolment = await driver.enrol()
    await driver.window()
    receipt = await driver.receipt(enrolment)
    stranger = service.client("learner", id=new_id())
    for method, path in [
        ("GET", f"/v1/assessments/{enrolment.enrolment_id}"),
        ("GET", f"/v1/assessments/{enrolment.enrolment_id}/submissions"),
        ("PUT", f"/v1/assessments/{enrolment.enrolment_id}/submission?filename=report.pdf"),
        ("GET", f"/v1/submissions/{receipt['submission_id']}/file"),
    ]:
        theirs = await stranger.request(method, path, content=driver.pdf() if method == "PUT" else None)
        missing = await stranger.request(method, path.replace(path.split("/")[3], str(new_id())), content=b"x")
        assert (theirs.status_code, theirs.json()["code"]) == (404, "not_found"), path
        assert missing.status_code == 404
    assert (await driver.read(enrolment))["attempts"][0]["submission_id"] == receipt["submission_id"]


async def test_a_learner_who_marks_too_is_a_stranger_to_others_assessments(driver, service):
    enrolment = await driver.enrol()
    other = service.client("learner", "marker", id=new_id())
    assert (await other.get(f"/v1/assessments/{enrolment.enrolment_id}")).status_code == 404


async def test_nobody_marks_their_own_work(driver, service):
    enrolment = await driver.enrol()
    window_id = await driver.window()
    receipt = await driver.receipt(enrolment)
    await driver.close(window_id)
    own = service.client("learner", "marker", "examiner", id=enrolment.learner_id)
    refused = await driver.mark(receipt["submission_id"], 100, client=own)
    assert (refused.status_code, refused.json()["code"]) == (403, "own_work")
    assert (await own.get("/v1/marking-queue")).json()["items"] == []


async def test_a_marker_learns_nothing_of_the_author(driver):
    enrolment = await driver.enrol()
    window_id = await driver.window()
    content = driver.pdf("work")
    receipt = await driver.receipt(enrolment, content, filename="Ada Lovelace project.pdf")
    await driver.close(window_id)
    queue = await driver.marker.get("/v1/marking-queue")
    file = await driver.marker.get(f"/v1/submissions/{receipt['submission_id']}/file")
    assert UUID(queue.json()["items"][0]["submission_id"]) == UUID(receipt["submission_id"])
    seen = queue.text + str(file.headers)
    assert "Ada" not in seen
    assert str(enrolment.learner_id) not in seen
    assert str(enrolment.enrolment_id) not in seen
    assert file.content == content
    assert f"{receipt['submission_id']}.pdf" in file.headers["content-disposition"]
