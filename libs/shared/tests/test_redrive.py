"""Redrive: what a person sends again is handled once, or changes nothing."""

import asyncio
import json

import pytest

from shared.ids import new_id
from shared.messaging import dead_letters
from shared.messaging.message import Unreadable

from . import delivery
from .delivery import body_of, refund_of
from .messaging_nodes import settle


async def test_a_redrive_that_fails_changes_nothing(enrolment):
    await enrolment.receiver.take([body_of(refund_of(reason_code="bug"))])
    await settle(enrolment)
    with pytest.raises(ZeroDivisionError):
        await redrive(enrolment)
    assert await enrolment.dead_letters() == ["handler_failed"]
    assert await enrolment.effects() == 0
    assert await enrolment.one("select count(*) from inbox") == 0


async def test_a_mended_body_can_be_redriven(enrolment):
    id_, event = new_id(), refund_of()
    broken = json.loads(body_of(event, id_))
    del broken["data"]["currency"]
    await enrolment.receiver.take([json.dumps(broken).encode()])
    assert await enrolment.dead_letters() == ["invalid_data"]
    with pytest.raises(Unreadable):
        await redrive(enrolment)
    assert await redrive(enrolment, body=body_of(event, id_))
    assert await enrolment.effects(event) == 1
    assert await enrolment.dead_letters() == []


async def test_a_redrive_of_what_was_handled_meanwhile_has_no_second_effect(enrolment):
    id_, event = new_id(), refund_of()
    await enrolment.receiver.take([body_of(event, id_)])
    await enrolment.receiver.take([body_of(refund_of(), id_)])
    assert await enrolment.dead_letters() == ["same_id_other_body"]
    assert not await redrive(enrolment)
    assert await enrolment.effects() == 1


async def test_one_of_two_people_who_redrive_at_once_is_refused(enrolment):
    await enrolment.receiver.take([body_of(refund_of(reason_code="bug"))])
    await settle(enrolment)
    delivery.mended.add("bug")
    dead_letter_id = await enrolment.one("select parked_id from parked_messages")
    results = await asyncio.gather(
        *(redrive(enrolment, dead_letter_id=dead_letter_id) for _ in range(2)), return_exceptions=True
    )
    assert sorted(map(type, results), key=str) == sorted([bool, dead_letters.AlreadyResolved], key=str)
    assert await enrolment.effects() == 1


@pytest.mark.parametrize("decide", ["discard", "redrive"])
@pytest.mark.parametrize("reason", ["invalid_data", "malformed", "same_id_other_body"])
async def test_what_a_person_has_decided_about_a_message_stands_when_it_comes_again(enrolment, reason, decide):
    id_, event = new_id(), refund_of()
    broken = json.loads(body_of(event, id_))
    if reason == "same_id_other_body":
        await enrolment.receiver.take([body_of(refund_of(), id_)])
    elif reason == "malformed":
        broken["specversion"] = "0.3"
    else:
        del broken["data"]["currency"]
    came = json.dumps(broken).encode()
    await enrolment.receiver.take([came])
    assert await enrolment.dead_letters() == [reason]
    if decide == "redrive":
        await redrive(enrolment, body=body_of(event, id_))
    else:
        dead_letter_id = await enrolment.one("select parked_id from parked_messages")
        await dead_letters.discard(enrolment.database, dead_letter_id, by="finance", reason="paid by hand")
    effects = await enrolment.effects()
    for _ in range(2):
        await enrolment.receiver.take([came])
    assert await enrolment.dead_letters() == []
    assert await enrolment.effects() == effects
    assert await enrolment.effects(event) == (decide == "redrive" and reason != "same_id_other_body")


async def test_a_mended_message_is_the_same_event(enrolment):
    event = refund_of()
    broken = json.loads(body_of(event))
    del broken["data"]["currency"]
    await enrolment.receiver.take([json.dumps(broken).encode()])
    with pytest.raises(dead_letters.AnotherEvent):
        await redrive(enrolment, body=body_of(event))
    assert await enrolment.dead_letters() == ["invalid_data"]
    assert await enrolment.effects() == 0


async def redrive(node, *, body=None, dead_letter_id=None):
    dead_letter_id = dead_letter_id or await node.one("select parked_id from parked_messages where resolved_at is null")
    return await dead_letters.redrive(
        node.database, node.receiver.inbox, dead_letter_id, by="finance", reason="mended", body=body
    )
