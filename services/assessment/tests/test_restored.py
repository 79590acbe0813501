"""A database that was restored from before a result: the board still decides about the credit the others know."""

import argparse

import pytest
from sqlalchemy import update

from assessment.__main__ import LOST_CREDIT
from assessment.commands import lost_credit
from assessment.commands.lost_credit import CreditIsHere, LostCredit, NoHistoryLost
from assessment.domain.marks import OwnWork, UnknownReason
from shared.events.assessment import CreditAwarded, CreditReinstated, CreditRevoked
from shared.ids import new_id
from shared.messaging.tables import Installation

LOST = LostCredit(new_id(), new_id(), new_id())


async def accepted(driver) -> None:
    await driver.session.execute(update(Installation).values(history_accepted_at=driver.clock()))


async def decide(driver, credit=LOST, *, by=None, reason="misconduct", revoke=True):
    return await lost_credit.decide(driver.session, by or new_id(), credit, reason, "EB/9", revoke=revoke)


async def test_credit_that_only_the_others_know_is_revoked_and_given_back_by_a_boards_minutes(driver):
    await accepted(driver)
    await decide(driver)
    await decide(driver, reason="appeal", revoke=False)
    taken, back = await driver.announced(CreditRevoked, CreditReinstated)
    for word in (taken, back):
        assert (word.credit_id, word.learner_id, word.enrolment_id) == (
            LOST.credit_id,
            LOST.learner_id,
            LOST.enrolment_id,
        )
    assert taken.revoked_at < back.reinstated_at
    assert 1_000_000 < taken.revision < back.revision, "later than what was decided and is lost"


async def test_who_may_not_decide_so(driver):
    with pytest.raises(NoHistoryLost):
        await decide(driver)
    await accepted(driver)
    with pytest.raises(OwnWork):
        await decide(driver, by=LOST.learner_id)
    with pytest.raises(UnknownReason):
        await decide(driver, reason="spite")
    enrolment = await driver.enrol(driver.course())
    await driver.attempt(enrolment, 70)
    [here] = await driver.announced(CreditAwarded)
    with pytest.raises(CreditIsHere):
        await decide(driver, LostCredit(here.credit_id, here.learner_id, here.enrolment_id))
    assert await driver.announced(CreditRevoked) == []


def test_it_is_asked_for_at_the_command_line():
    parser = argparse.ArgumentParser()
    LOST_CREDIT.arguments(parser)
    ids = [str(new_id()) for _ in range(4)]
    given = parser.parse_args(["revoke", *ids[:3], "--reason", "misconduct", "--minutes", "EB/9", "--by", ids[3]])
    assert (str(given.credit_id), given.action) == (ids[0], "revoke")
