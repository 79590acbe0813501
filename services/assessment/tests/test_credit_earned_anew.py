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
def earning(story):
    """A learner who buys one course, and passes it."""
    of, learner_id = story.course(), new_id()

    async def earn(mark=70):
        story.clock.advance(seconds=1)
        enrolment = await story.enrol(of, learner_id=learner_id, activated_at=story.clock())
        await story.attempt(enrolment, mark)
        return enrolment, (await story.announced(CreditAwarded))[-1].credit_id

    return earn


async def revoke(story, credit_id):
    story.clock.advance(seconds=1)
    return await story.chair.post(f"/v1/credits/{credit_id}/revocation", json=REVOKE)


async def give_back(story, credit_id):
    story.clock.advance(seconds=1)
    return await story.chair.post(f"/v1/credits/{credit_id}/reinstatement", json=GIVE_BACK)


async def test_a_new_pass_gives_credit_after_a_revocation_and_the_old_is_not_given_back_beside_it(story, earning):
    _, first = await earning()
    assert (await revoke(story, first)).status_code == 200
    enrolment, second = await earning(80)
    assert second != first
    [_, awarded] = await story.announced(CreditAwarded)
    assert (awarded.enrolment_id, awarded.mark, awarded.attempt_no) == (enrolment.enrolment_id, 80, 1)
    story.refused(await give_back(story, first), 409, "credit_replaced")
    assert await story.announced(CreditReinstated) == []


async def test_each_word_about_a_credit_is_later_than_those_before_whatever_the_clocks_say(story, earning):
    _, credit = await earning()
    for _ in range(2):
        for decide in (revoke, give_back):
            story.clock.advance(seconds=-6)
            assert (await decide(story, credit)).status_code == 200
    words = await story.announced(CreditAwarded, CreditRevoked, CreditReinstated)
    instants = [getattr(word, _WHEN[type(word)]) for word in words]
    assert len(instants) == 5
    assert instants == sorted(set(instants))


async def test_who_got_it_back_reads_that_another_pass_would_give_nothing(story, earning):
    _, first = await earning()
    await revoke(story, first)
    again, second = await earning(30)
    assert second == first
    assert (await give_back(story, first)).status_code == 200
    await story.window()
    story.refused(await story.submit(again), 409, "already_passed")


async def test_once_the_new_one_is_revoked_either_is_given_back_and_never_both(story, earning):
    _, first = await earning()
    await revoke(story, first)
    _, second = await earning()
    await revoke(story, second)
    for one, other in ((first, second), (second, first), (first, second)):
        back = await give_back(story, one)
        assert (back.status_code, back.json()["revoked_at"]) == (200, None)
        assert back.json()["module_family"]
        story.refused(await give_back(story, other), 409, "credit_replaced")
        assert (await revoke(story, one)).status_code == 200
    _, third = await earning()
    for credit_id in (first, second):
        story.refused(await give_back(story, credit_id), 409, "credit_replaced")
    assert len({first, second, third}) == 3


async def test_credit_given_back_while_the_new_work_is_marked_stays_the_only_one(story, earning):
    _, first = await earning()
    await revoke(story, first)
    again, _ = await earning(30)
    window_id = await story.window()
    receipt = await story.receipt(again, window_id=window_id)
    await story.close(window_id)
    await story.mark(receipt["submission_id"], 70)
    await story.release(window_id)
    await give_back(story, first)
    assert (await story.board(window_id)).status_code == 201
    assert len(await story.announced(CreditAwarded)) == 1


async def test_an_appeal_that_waited_for_another_is_refused_for_the_module_is_taken(live, story_class):
    """Three credits of one module, all revoked; the first is given back while the second is."""
    database = live.process.database
    async with database.transaction() as session:
        story = story_class(live, session, live.clock)
        of, learner_id = story.course(), new_id()
        for _ in range(3):
            enrolment = await story.enrol_live(of, learner_id=learner_id, activated_at=story.clock())
            await story.attempt(enrolment, 70)
            await revoke(story, (await story.announced(CreditAwarded))[-1].credit_id)
        first, second, third = [event.credit_id for event in await story.announced(CreditAwarded)]
    async with database.transaction() as other:
        leave = "update credits set module_family = null where credit_id = :id"
        await other.execute(text(leave), {"id": third})
        await other.execute(text(STAND_AGAIN), {"id": second, "module": of.module_family})
        waiting = asyncio.create_task(give_back(story, first))
        await asyncio.sleep(0.5)
        assert not waiting.done()
    story.refused(await waiting, 409, "credit_replaced")


async def test_the_board_and_an_appeal_at_once_leave_one_that_stands(live, story_class):
    async with live.process.database.transaction() as session:
        story = story_class(live, session, live.clock)
        for _ in range(4):
            of, learner_id = story.course(), new_id()
            first = await story.enrol_live(of, learner_id=learner_id)
            await story.attempt(first, 70)
            credit_id = (await story.announced(CreditAwarded))[-1].credit_id
            await revoke(story, credit_id)
            second = await story.enrol_live(of, learner_id=learner_id, activated_at=story.clock())
            window_id = await story.attempt(second, 80, ratified=False)
            before = len(await story.announced(CreditAwarded))
            sat, back = await asyncio.gather(story.board(window_id), give_back(story, credit_id))
            assert sat.status_code == 201
            assert back.status_code in {200, 409}
            awarded = len(await story.announced(CreditAwarded)) - before
            assert (awarded, back.status_code) in {(1, 409), (0, 200)}
