"""One credit that stands a module: who lost it may earn it anew, and the old one is not given back beside the new."""

import asyncio

import pytest
from sqlalchemy import text

from shared.events.assessment import CreditAwarded, CreditReinstated, CreditRevoked
from shared.ids import new_id

REVOKE = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
GIVE_BACK = {"reason_code": "appeal", "minutes_reference": "EB/10"}
_WHEN = {CreditAwarded: "ratified_at", CreditRevoked: "revoked_at", CreditReinstated: "reinstated_at"}
STAND_AGAIN = """
    update credits set module_family = :module, revoked_at = null, revocation_reason = null, revocation_board_id = null
    where credit_id = :id
"""


@pytest.fixture
def earning(driver):
    """A learner who buys one course, and passes it."""
    of, learner_id = driver.course(), new_id()

    async def earn(mark=70):
        driver.clock.advance(seconds=1)
        enrolment = await driver.enrol(of, learner_id=learner_id, activated_at=driver.clock())
        await driver.attempt(enrolment, mark)
        return enrolment, (await driver.announced(CreditAwarded))[-1].credit_id

    return earn


async def revoke(driver, credit_id):
    driver.clock.advance(seconds=1)
    return await driver.chair.post(f"/v1/credits/{credit_id}/revocation", json=REVOKE)


async def give_back(driver, credit_id):
    driver.clock.advance(seconds=1)
    return await driver.chair.post(f"/v1/credits/{credit_id}/reinstatement", json=GIVE_BACK)


async def test_a_new_pass_gives_credit_after_a_revocation_and_the_old_is_not_given_back_beside_it(driver, earning):
    _, first = await earning()
    assert (await revoke(driver, first)).status_code == 200
    enrolment, second = await earning(80)
    assert second != first
    [_, awarded] = await driver.announced(CreditAwarded)
    assert (awarded.enrolment_id, awarded.mark, awarded.attempt_no) == (enrolment.enrolment_id, 80, 1)
    driver.refused(await give_back(driver, first), 409, "credit_replaced")
    assert await driver.announced(CreditReinstated) == []


async def test_each_word_about_a_credit_is_later_than_those_before_whatever_the_clocks_say(driver, earning):
    _, credit = await earning()
    for _ in range(2):
        for decide in (revoke, give_back):
            driver.clock.advance(seconds=-6)
            assert (await decide(driver, credit)).status_code == 200
    words = await driver.announced(CreditAwarded, CreditRevoked, CreditReinstated)
    instants = [getattr(word, _WHEN[type(word)]) for word in words]
    assert len(instants) == 5
    assert instants == sorted(set(instants))


async def test_who_got_it_back_reads_that_another_pass_would_give_nothing(driver, earning):
    _, first = await earning()
    await revoke(driver, first)
    again, second = await earning(30)
    assert second == first
    assert (await give_back(driver, first)).status_code == 200
    await driver.window()
    driver.refused(await driver.submit(again), 409, "already_passed")


async def test_once_the_new_one_is_revoked_either_is_given_back_and_never_both(driver, earning):
    _, first = await earning()
    await revoke(driver, first)
    _, second = await earning()
    await revoke(driver, second)
    for one, other in ((first, second), (second, first), (first, second)):
        back = await give_back(driver, one)
        assert (back.status_code, back.json()["revoked_at"]) == (200, None)
        assert back.json()["module_family"]
        driver.refused(await give_back(driver, other), 409, "credit_replaced")
        assert (await revoke(driver, one)).status_code == 200
    _, third = await earning()
    for credit_id in (first, second):
        driver.refused(await give_back(driver, credit_id), 409, "credit_replaced")
    assert len({first, second, third}) == 3


async def test_credit_given_back_while_the_new_work_is_marked_stays_the_only_one(driver, earning):
    _, first = await earning()
    await revoke(driver, first)
    again, _ = await earning(30)
    window_id = await driver.window()
    receipt = await driver.receipt(again, window_id=window_id)
    await driver.close(window_id)
    await driver.mark(receipt["submission_id"], 70)
    await driver.release(window_id)
    await give_back(driver, first)
    assert (await driver.board(window_id)).status_code == 201
    assert len(await driver.announced(CreditAwarded)) == 1


async def test_an_appeal_that_waited_for_another_is_refused_for_the_module_is_taken(live, driver_class):
    """Three credits of one module, all revoked; the first is given back while the second is."""
    database = live.process.database
    async with database.transaction() as session:
        driver = driver_class(live, session, live.clock)
        of, learner_id = driver.course(), new_id()
        for _ in range(3):
            enrolment = await driver.enrol_live(of, learner_id=learner_id, activated_at=driver.clock())
            await driver.attempt(enrolment, 70)
            await revoke(driver, (await driver.announced(CreditAwarded))[-1].credit_id)
        first, second, third = [event.credit_id for event in await driver.announced(CreditAwarded)]
    async with database.transaction() as other:
        leave = "update credits set module_family = null where credit_id = :id"
        await other.execute(text(leave), {"id": third})
        await other.execute(text(STAND_AGAIN), {"id": second, "module": of.module_family})
        waiting = asyncio.create_task(give_back(driver, first))
        await asyncio.sleep(0.5)
        assert not waiting.done()
    driver.refused(await waiting, 409, "credit_replaced")


async def test_the_board_and_an_appeal_at_once_leave_one_that_stands(live, driver_class):
    async with live.process.database.transaction() as session:
        driver = driver_class(live, session, live.clock)
        for _ in range(4):
            of, learner_id = driver.course(), new_id()
            first = await driver.enrol_live(of, learner_id=learner_id)
            await driver.attempt(first, 70)
            credit_id = (await driver.announced(CreditAwarded))[-1].credit_id
            await revoke(driver, credit_id)
            second = await driver.enrol_live(of, learner_id=learner_id, activated_at=driver.clock())
            window_id = await driver.attempt(second, 80, ratified=False)
            before = len(await driver.announced(CreditAwarded))
            sat, back = await asyncio.gather(driver.board(window_id), give_back(driver, credit_id))
            assert sat.status_code == 201
            assert back.status_code in {200, 409}
            awarded = len(await driver.announced(CreditAwarded)) - before
            assert (awarded, back.status_code) in {(1, 409), (0, 200)}
