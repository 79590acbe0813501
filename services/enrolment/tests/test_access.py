"""Who may do what: every operation as every kind of caller, and nobody sees another's."""

from shared.ids import new_id
from shared.testing.access import access_failures


async def test_every_operation_admits_whom_its_rule_names_and_nobody_else(service, session, clock):
    assert await access_failures(service) == []


async def test_another_learners_objects_do_not_exist(service, driver):
    await driver.register()
    offered = await driver.offer(units=1)
    [enrolment] = await driver.buy(offered)
    async with service.client("learner", id=driver.learner_id) as own:
        unit = (await own.get(f"/v1/enrolments/{enrolment.enrolment_id}/units")).json()["items"][0]["unit_id"]
    base = f"/v1/enrolments/{enrolment.enrolment_id}"
    async with service.client("learner", id=new_id()) as other:
        answers = [
            await other.get(base),
            await other.get(f"{base}/units"),
            await other.get(f"{base}/units/{unit}"),
            await other.put(f"{base}/units/{unit}/progress", json={"status": "started"}),
            await other.post(f"{base}/withdrawal"),
            await other.get("/v1/enrolments", params={"learner_id": str(driver.learner_id)}),
        ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "not_found")] * 6
    await driver.session.refresh(enrolment)
    assert enrolment.status == "active"


async def test_an_advisor_reads_and_changes_nothing(service, driver):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer(units=1))
    base = f"/v1/enrolments/{enrolment.enrolment_id}"
    async with service.client("advisor") as advisor:
        assert (await advisor.get(base)).status_code == 200
        assert (await advisor.get(f"{base}/units")).status_code == 200
        listed = await advisor.get("/v1/enrolments", params={"learner_id": str(driver.learner_id)})
        assert [item["enrolment_id"] for item in listed.json()["items"]] == [str(enrolment.enrolment_id)]
        record = await advisor.get(f"/v1/learners/{driver.learner_id}/study-record")
        assert record.json()["enrolments"][0]["enrolment_id"] == str(enrolment.enrolment_id)
        assert (await advisor.post(f"{base}/withdrawal")).status_code == 403
        assert (await advisor.post(f"{base}/reinstatement", json={"reason_code": "repaid"})).status_code == 403
