"""What cannot be handled is dead-lettered, the queue flows on, and a person discards it or has it handled again."""

import json

import pytest

from shared.messaging import dead_letters

from . import delivery
from .delivery import body_of, refund_of, wrapped
from .messaging_nodes import (
    eventually,
    has,
    is_dead_lettered,
    redrive,
)


def _of(**changed):
    """A refund's envelope with some of it replaced; None leaves a member out."""
    attributes = json.loads(body_of(refund_of())) | changed
    return json.dumps({name: value for name, value in attributes.items() if value is not None}).encode()


UNREADABLE = {
    "bad JSON": (b"{not json", "malformed"),
    "not an object": (b"[1]", "malformed"),
    "no bytes": (b"", "malformed"),
    "not UTF-8": (b"\xff\xfe\x00", "malformed"),
    "nested too deep": (b"[" * 200_000, "malformed"),
    "no id": (_of(id=None), "malformed"),
    "an id that is no UUID": (_of(id="17"), "malformed"),
    "a number for an id": (_of(id=17), "malformed"),
    "a number for a type": (_of(type=17), "malformed"),
    "a list of a type": (_of(type=["payments.refund.requested.v1"]), "malformed"),
    "an object for a source, of a type nobody knows": (
        _of(source={}, type="payments.refund.forgotten.v1"),
        "malformed",
    ),
    "a number for a version": (_of(specversion=1.0), "malformed"),
    "an older CloudEvents": (_of(specversion="0.3"), "malformed"),
    "a NUL in an attribute": (_of(source="/services/\x00"), "malformed"),
    "half a character": (_of(type="payments.\ud800.v1"), "unknown_type"),
    "a type nobody knows": (_of(type="payments.refund.forgotten.v1"), "unknown_type"),
    "a type this service does not consume": (
        body_of(refund_of()).replace(b"refund.requested", b"order.expired"),
        "invalid_data",
    ),
    "a name that no index holds": (
        _of(source="".join(map(chr, range(0x4E00, 0x6000))), type="".join(map(chr, range(0x4E00, 0x6000)))),
        "unknown_type",
    ),
    "another service's name": (_of(source="/services/catalogue"), "malformed"),
    "a broken schema": (_of(data={"refund_id": "x"}), "invalid_data"),
    "no data": (_of(data=None), "malformed"),
    "a text for data": (_of(data="{}"), "invalid_data"),
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_unreadable_message_is_dead_lettered_and_the_queue_flows_on(joined, name):
    body, reason = UNREADABLE[name]
    await joined.consume()
    sender = joined.transport()
    before, after = refund_of(), refund_of()
    await sender.send([wrapped(body_of(before)), wrapped(body), wrapped(body_of(after))])
    await eventually(lambda: has(joined.enrolment, 2))
    assert await joined.enrolment.dead_letters() == [reason]
    assert await joined.enrolment.one("select body from parked_messages") == body
    await sender.send([wrapped(body)])  # and once more: it stands there once
    await sender.send([wrapped(body_of(refund_of()))])
    await eventually(lambda: has(joined.enrolment, 3))
    assert await joined.enrolment.dead_letters() == [reason]


@pytest.mark.parametrize("mistake", ["bug", "missing_file", "time_out", "bad_statement", "swallowed_statement"])
async def test_a_handlers_bug_is_retried_then_dead_lettered_and_the_queue_flows_on(joined, mistake):
    await joined.consume()
    joined.retry()
    sender = joined.transport()
    before, poison, after = refund_of(), refund_of(reason_code=mistake), refund_of()
    body = body_of(poison)
    await sender.send([wrapped(body_of(before)), wrapped(body), wrapped(body_of(after))])
    await eventually(lambda: has(joined.enrolment, 2))
    assert (await joined.enrolment.effects(before), await joined.enrolment.effects(after)) == (1, 1)
    await eventually(lambda: is_dead_lettered(joined.enrolment, "handler_failed"))
    assert await joined.enrolment.effects(poison) == 0
    assert await joined.enrolment.one("select count(*) from inbox") == 2
    assert await joined.enrolment.one("select error from parked_messages")

    delivery.mended.add(mistake)
    await sender.send([wrapped(body)])  # a redelivery does not overtake the person
    await sender.send([wrapped(body_of(refund_of()))])
    await eventually(lambda: has(joined.enrolment, 3))
    assert await joined.enrolment.effects(poison) == 0
    dead_letter_id = await joined.enrolment.one("select parked_id from parked_messages")
    assert await redrive(joined.enrolment, dead_letter_id)
    assert await joined.enrolment.effects(poison) == 1
    with pytest.raises(dead_letters.AlreadyResolved):
        await redrive(joined.enrolment, dead_letter_id)
    await sender.send([wrapped(body)])
    await sender.send([wrapped(body_of(refund_of()))])
    await eventually(lambda: has(joined.enrolment, 5))
    assert await joined.enrolment.effects(poison) == 1
    assert await joined.enrolment.dead_letters() == []


async def test_a_discarded_message_never_has_an_effect(joined):
    await joined.consume()
    joined.retry()
    sender = joined.transport()
    poison = refund_of(reason_code="bug")
    body = body_of(poison)
    await sender.send([wrapped(body)])
    await eventually(lambda: is_dead_lettered(joined.enrolment, "handler_failed"))
    dead_letter_id = await joined.enrolment.one("select parked_id from parked_messages")
    await dead_letters.discard(joined.enrolment.database, dead_letter_id, by="finance", reason="paid back by hand")
    delivery.mended.add("bug")
    await sender.send([wrapped(body)])
    await sender.send([wrapped(body_of(refund_of()))])
    await eventually(lambda: has(joined.enrolment, 1))
    assert await joined.enrolment.effects(poison) == 0
    assert await joined.enrolment.dead_letters() == []
    assert await joined.enrolment.all("select resolution, resolved_by, resolution_reason from parked_messages") == [
        ("discarded", "finance", "paid back by hand")
    ]
