"""Several at once, on a database with real commits."""

import asyncio
from datetime import timedelta

from sqlalchemy import func, select, text

from enrolment import queries
from enrolment.domain import regulations
from enrolment.jobs import settle_waiting_lines
from enrolment.tables import Enrolment, Learner
from shared.events.enrolment import (
    EnrolmentActivated,
    EnrolmentCancelled,
)
from shared.ids import new_id
from shared.jobs import Work

from .people import FORM


async def test_two_registrations_at_once_make_one_learner(live):
    learner_id = new_id()
    async with live.client("learner", id=learner_id) as client:
        answers = await asyncio.gather(*(client.post("/v1/learners", json=FORM) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_a_registration_that_waits_longer_than_its_caller_is_ended_and_can_be_sent_again(live, new_driver):
    learner_id, key = new_id(), {"Idempotency-Key": "register"}
    async with live.client("learner", id=learner_id) as client:
        async with live.process.database.transaction() as other:
            await other.execute(text("lock table learners in share mode"))
            late = await client.post("/v1/learners", json=FORM, headers={**key, "X-Request-Timeout-Ms": "500"})
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        async with live.process.database.transaction() as session:
            assert await session.scalar(select(func.count()).select_from(Learner)) == 0
        again = await client.post("/v1/learners", json=FORM, headers={**key, "X-Request-Timeout-Ms": "30000"})
    assert again.status_code == 201
    assert live.process.database.web.pool.checkedout() == 0


async def test_payments_of_one_course_at_once_make_one_enrolment(live, new_driver):
    """Two orders, each delivered to two consumers at once."""
    async with live.process.database.transaction() as session:
        driver = new_driver(session)
        driver.service = live
        await driver.register()
        offered = await driver.offer()
    payments = [driver.payment(offered), driver.payment(offered)]

    async def consume(paid):
        async with live.process.database.transaction() as session:
            await live.service.inbox.receive(session, paid)

    await asyncio.gather(*(consume(paid) for paid in payments * 2))
    live.clock.at += regulations.in_force(live.clock()).activation_wait
    await settle_waiting_lines(Work(live.process.database, {}))

    async with live.process.database.transaction() as session:
        driver.session = session
        assert await session.scalar(select(func.count()).select_from(Enrolment)) == 1
        assert len(await driver.announced(EnrolmentActivated)) == 1
        record = await queries.read_study_record(session, driver.learner_id)
        assert [one.reason_code for one in record.not_activated] == ["already_enrolled"]


async def test_registering_while_a_payment_is_being_handled_activates_it(live, new_driver):
    async with live.process.database.transaction() as session:
        driver = new_driver(session)
        driver.service = live
        offered = await driver.offer()
    paid = driver.payment(offered)
    async with live.client("learner", id=driver.learner_id) as client:
        async with live.process.database.transaction() as session:
            await live.service.inbox.receive(session, paid)
            registering = asyncio.create_task(client.post("/v1/learners", json=FORM))
            await asyncio.sleep(0.3)
            assert not registering.done()  # it waits for the lock
        assert (await registering).status_code == 201
        [enrolment] = (await client.get("/v1/enrolments")).json()["items"]
    assert enrolment["status"] == "active"


async def test_a_refund_and_a_withdrawal_at_once_cancel_once(live, new_driver):
    async with live.process.database.transaction() as session:
        driver = new_driver(session)
        driver.service = live
        await driver.register()
        paid = driver.payment(await driver.offer())
        await driver.consume(paid)
        enrolment = await driver.enrolment(paid.lines[0].order_line_id)

    async def refund():
        async with live.process.database.transaction() as session:
            await live.service.inbox.receive(session, driver.refund(paid, at=paid.confirmed_at + timedelta(hours=1)))

    async with live.client("learner", id=driver.learner_id) as client:
        path = f"/v1/enrolments/{enrolment.enrolment_id}/withdrawal"
        *answers, _ = await asyncio.gather(client.post(path), client.post(path), refund())
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert [answer.status_code for answer in answers].count(201) <= 1
    async with live.process.database.transaction() as session:
        driver.session = session
        assert len(await driver.announced(EnrolmentCancelled)) == 1
        await driver.assert_record_stands()


async def test_finishing_a_unit_many_times_at_once_is_one_step(live, new_driver):
    async with live.process.database.transaction() as session:
        driver = new_driver(session)
        driver.service = live
        await driver.register()
        [enrolment] = await driver.buy(await driver.offer(units=2))
    async with live.client("learner", id=driver.learner_id) as client:
        base = f"/v1/enrolments/{enrolment.enrolment_id}/units"
        unit = (await client.get(base)).json()["items"][0]["unit_id"]
        steps = ["started", "finished"] * 3
        answers = await asyncio.gather(
            *(client.put(f"{base}/{unit}/progress", json={"status": status}) for status in steps)
        )
        assert {answer.status_code for answer in answers} == {200}
        body = (await client.get(f"/v1/enrolments/{enrolment.enrolment_id}")).json()
    assert body["progress"] == {"units": 2, "started": 1, "finished": 1, "percent": 50}
