"""The inbox: the claim, the handler and the record are one transaction; what fails waits, or is dead-lettered."""

import asyncio
import json
import logging
from datetime import timedelta

import pytest
from sqlalchemy import text

from shared import telemetry
from shared.database import advisory_lock
from shared.events.payments import RefundCompleted, RefundRequested
from shared.ids import new_id
from shared.messaging import Inbox, RetryLater, deduplication, inbox, publish
from shared.messaging import receiver as receiving
from shared.messaging.message import envelope
from shared.messaging.receiver import Receiver
from shared.messaging.retrying import RetryPolicy

from . import delivery
from .delivery import HASTY, NOON, body_of, confirmed, refund_of
from .messaging_nodes import ServiceNode, settle


def consuming(handler, node, policy=HASTY):
    """A receiver whose only handler is this one."""
    inbox = Inbox("enrolment")
    inbox.on(RefundRequested)(handler)
    return Receiver(inbox, node.database, policy)


async def write_effect(session, event):
    await session.execute(
        text("insert into effects (type, about) values (:type, :about)"),
        {"type": event.type, "about": event.refund_id},
    )


async def test_claim_and_effect_stand_or_fall_together(enrolment):
    async def fail(session, event):
        await write_effect(session, event)
        raise ZeroDivisionError

    await consuming(fail, enrolment).take([body_of(refund_of())])
    assert await enrolment.one("select count(*) from inbox") == 0
    assert await enrolment.effects() == 0
    assert await enrolment.all("select attempt, waiting from inbox_retry") == [(1, False)]


async def test_one_bad_message_does_not_fail_its_neighbours(enrolment):
    events = [refund_of(), refund_of(reason_code="bug"), refund_of(), refund_of(reason_code="bug"), refund_of()]
    await enrolment.receiver.take([body_of(event) for event in events])
    assert [await enrolment.effects(event) for event in events] == [1, 0, 1, 0, 1]
    assert await enrolment.one("select count(*) from inbox_retry") == 2


@pytest.mark.parametrize(("bad", "most"), [({200}, 501), ({0}, 301), ({299}, 600), ({50, 100, 150}, 460)])
async def test_an_event_that_waits_costs_its_batch_little(enrolment, monkeypatch, bad, most):
    """Those before it are handled twice, those after it once."""
    monkeypatch.setattr(receiving, "BATCH_SECONDS", 60)
    events, handled, transactions = [refund_of() for _ in range(300)], [], 0

    async def wait(session, event):
        handled.append(event)
        if event in [events[place] for place in bad]:
            raise RetryLater
        await write_effect(session, event)

    begin = enrolment.database.transaction

    def count():
        nonlocal transactions
        transactions += 1
        return begin()

    monkeypatch.setattr(enrolment.database, "transaction", count)
    await consuming(wait, enrolment).take([body_of(event) for event in events])
    assert await enrolment.effects() == 300 - len(bad)
    assert await enrolment.one("select count(*) from inbox_retry") == len(bad)
    assert len(handled) <= most
    assert transactions <= 5 * len(bad) + 1


async def test_a_batch_of_which_much_fails_is_taken_one_by_one(enrolment):
    async def fail(session, event):
        if int(event.reason_code) % 2:
            raise ZeroDivisionError
        await write_effect(session, event)

    events = [refund_of(reason_code=str(n)) for n in range(60)]
    await consuming(fail, enrolment).take([body_of(event) for event in events])
    assert await enrolment.effects() == 30
    assert await enrolment.one("select count(*) from inbox_retry") == 30


async def test_duplicates_within_a_batch_have_one_effect(enrolment):
    event = refund_of()
    await enrolment.receiver.take([body_of(event, id_ := new_id())] * 10)
    await enrolment.receiver.take([body_of(event, id_)])
    assert await enrolment.effects(event) == 1


async def test_batches_in_opposite_order_do_not_stand_in_each_others_way(enrolment):
    bodies = [body_of(refund_of()) for _ in range(50)]
    other = ServiceNode("enrolment", enrolment.url)
    await asyncio.gather(enrolment.receiver.take(bodies), other.receiver.take(bodies[::-1]))
    await other.database.dispose()
    assert await enrolment.effects() == 50
    assert await enrolment.one("select count(*) from inbox_retry") == 0


@pytest.mark.parametrize("fails", [False, True], ids=["all well", "one fails"])
async def test_a_transaction_takes_up_no_more_once_it_has_held_its_locks_for_long(enrolment, monkeypatch, fails):
    monkeypatch.setattr(receiving, "BATCH_SECONDS", 0.2)
    transactions = []

    async def take_time(session, event):
        transactions.append((await session.execute(text("select pg_current_xact_id()::text"))).scalar_one())
        await asyncio.sleep(0.05)
        if event.reason_code == "bug":
            raise ZeroDivisionError
        await write_effect(session, event)

    events = [refund_of() for _ in range(19)] + [refund_of(reason_code="bug" if fails else "mistake")]
    bodies = [body_of(event) for event in events]
    await consuming(take_time, enrolment).take(bodies)
    assert max(map(transactions.count, transactions)) <= 4
    assert [await enrolment.effects(event) for event in events] == [1] * 19 + [0 if fails else 1]
    assert await enrolment.one("select count(*) from inbox") == (19 if fails else 20)
    taken = len(transactions)
    await consuming(take_time, enrolment).take(bodies)
    assert len(transactions) == taken


async def test_what_one_has_no_time_for_another_that_waits_for_it_takes(enrolment, monkeypatch):
    monkeypatch.setattr(receiving, "BATCH_SECONDS", 0.2)
    other = ServiceNode("enrolment", enrolment.url)

    async def take_time(session, event):
        await asyncio.sleep(0.05)
        await write_effect(session, event)

    events = [refund_of() for _ in range(40)]  # together longer than a lock is waited for
    bodies = [body_of(event) for event in events]
    await asyncio.gather(*(consuming(take_time, node).take(bodies) for node in (enrolment, other)))
    await other.database.dispose()
    assert [await enrolment.effects(event) for event in events] == [1] * 40
    assert await enrolment.one("select count(*) from inbox_retry") == 0


async def test_who_finds_another_at_it_for_long_comes_back_without_having_used_up_a_try(enrolment, caplog):
    """The other delivery holds its claim, then fails: this one must still have its effect."""
    event = refund_of()
    body = body_of(event)
    message = enrolment.receiver.inbox.read(body)
    async with enrolment.database.messages() as other:
        await deduplication.claim(other, [message])
        await enrolment.receiver.take([body])
        assert await enrolment.all("select attempt, waiting from inbox_retry") == [(0, True)]
        await asyncio.sleep(HASTY.waiting_seconds)
        assert await enrolment.receiver.retry_one()  # and is in the other's way again
        assert await enrolment.all("select attempt, waiting from inbox_retry") == [(0, True)]
        await other.rollback()
    await settle(enrolment)
    assert await enrolment.effects(event) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_retry_that_finds_another_at_it_is_not_counted(enrolment):
    async def fail(session, event):
        raise ZeroDivisionError

    receiver = consuming(fail, enrolment)
    message = receiver.inbox.read(body_of(refund_of()))
    await receiver.take([message.body])
    async with enrolment.database.messages() as other:
        await deduplication.claim(other, [message])
        await asyncio.sleep(HASTY.delays_seconds[0])
        assert await receiver.retry_one()
        assert await enrolment.all("select attempt, waits from inbox_retry") == [(1, 1)]
        await other.rollback()


async def test_a_lock_held_by_others_is_no_fault_of_the_handler(enrolment, caplog):
    async def wait_for_lock(session, event):
        await advisory_lock(session, "learner")
        await write_effect(session, event)

    receiver, event = consuming(wait_for_lock, enrolment), refund_of()
    async with enrolment.database.transaction() as other:
        await advisory_lock(other, "learner")
        await receiver.take([body_of(event)])
    assert await enrolment.all("select attempt, waits from inbox_retry") == [(0, 1)]
    await settle(enrolment, receiver)
    assert await enrolment.effects(event) == 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_handler_that_hangs_is_put_off_so_that_the_queue_flows_on(enrolment, monkeypatch):
    monkeypatch.setattr(inbox, "LONGEST_SECONDS", 0.2)
    stuck, after = refund_of(reason_code="hang"), refund_of()
    async with asyncio.timeout(10):
        await enrolment.receiver.take([body_of(stuck), body_of(after)])
    assert await enrolment.effects(after) == 1
    assert await enrolment.effects(stuck) == 0
    assert await enrolment.all("select last_error from inbox_retry") == [("TimeoutError()",)]


async def test_a_handler_that_costs_its_connection_is_put_off_for_the_database_answers(enrolment):
    async def lose_connection(session, event):
        if event.reason_code == "bug":
            await session.execute(text("select pg_terminate_backend(pg_backend_pid())"))
        await write_effect(session, event)

    receiver = consuming(lose_connection, enrolment)
    after = refund_of()
    async with asyncio.timeout(10):
        await receiver.take([body_of(refund_of(reason_code="bug")), body_of(after)])
    assert await enrolment.effects(after) == 1
    assert await enrolment.one("select count(*) from inbox_retry") == 1


@pytest.mark.parametrize("reason_code", ["bug", "before_payment"])
async def test_while_a_retry_is_due_a_redelivery_waits_and_another_body_is_dead_lettered(enrolment, reason_code):
    id_, event = new_id(), refund_of(reason_code=reason_code)
    await enrolment.receiver.take([body_of(event, id_)])
    delivery.mended.add(reason_code)
    await enrolment.receiver.take([body_of(event, id_)])
    assert await enrolment.effects() == 0  # the retry has it in hand
    await enrolment.receiver.take([body_of(refund_of(), id_)])
    assert await enrolment.dead_letters() == ["same_id_other_body"]
    await settle(enrolment)
    assert await enrolment.effects() == await enrolment.effects(event) == 1


async def test_while_a_person_has_it_in_hand_another_body_is_dead_lettered_too(enrolment):
    id_, event = new_id(), refund_of(reason_code="bug")
    await enrolment.receiver.take([body_of(event, id_)])
    await settle(enrolment)
    await enrolment.receiver.take([body_of(refund_of(), id_)])
    assert await enrolment.dead_letters() == ["handler_failed", "same_id_other_body"]
    assert await enrolment.effects() == 0


async def test_an_unreadable_message_does_not_block_the_event_whose_id_it_bears(enrolment):
    id_, event = new_id(), refund_of()
    forged = json.loads(body_of(event, id_)) | {"specversion": "7"}
    await enrolment.receiver.take([json.dumps(forged).encode()])
    await enrolment.receiver.take([body_of(event, id_)])
    assert await enrolment.effects(event) == 1
    assert await enrolment.dead_letters() == ["malformed"]


async def test_the_same_poison_taken_by_ten_at_once_is_dead_lettered_once(enrolment):
    await asyncio.gather(*(enrolment.receiver.take([b"poison"]) for _ in range(10)))
    assert await enrolment.dead_letters() == ["malformed"]


async def test_a_failing_message_is_tried_once_more_than_there_are_delays(enrolment):
    tries = 0

    async def fail(session, event):
        nonlocal tries
        tries += 1
        raise ZeroDivisionError

    receiver = consuming(fail, enrolment)
    await receiver.take([body_of(refund_of())])
    await settle(enrolment, receiver)
    assert tries == 1 + len(HASTY.delays_seconds)
    assert await enrolment.dead_letters() == ["handler_failed"]
    assert await enrolment.one("select error from parked_messages") == "ZeroDivisionError()"


async def test_who_waits_too_long_is_dead_lettered(enrolment):
    async def wait(session, event):
        raise RetryLater("for ever")

    receiver = consuming(wait, enrolment, RetryPolicy((0.05,), 0.05, timedelta(seconds=0.3)))
    await receiver.take([body_of(refund_of())])
    await settle(enrolment, receiver)
    assert await enrolment.dead_letters() == ["waited_too_long"]


async def test_who_waited_and_then_fails_is_given_the_usual_tries(enrolment):
    tries = []

    async def wait_then_fail(session, event):
        tries.append(event)
        if len(tries) < 10:
            raise RetryLater("the first nine times")
        raise ZeroDivisionError

    receiver = consuming(wait_then_fail, enrolment, RetryPolicy((0.01, 0.01), 0.01))
    await receiver.take([body_of(refund_of())])
    await settle(enrolment, receiver)
    assert await enrolment.dead_letters() == ["handler_failed"]
    assert len(tries) == 9 + 1 + 2


async def test_two_that_retry_at_once_let_one_through(enrolment):
    slow = refund_of(reason_code="bug")
    await enrolment.receiver.take([body_of(slow)])
    delivery.mended.add("bug")
    other = ServiceNode("enrolment", enrolment.url)
    await asyncio.sleep(0.1)
    await asyncio.gather(*(node.receiver.retry_one() for node in (enrolment, other) * 5))
    await other.database.dispose()
    assert await enrolment.effects() == 1


async def test_a_retry_that_a_new_release_cannot_read_is_dead_lettered_and_does_not_end_us(enrolment):
    await enrolment.receiver.take([body_of(refund_of(reason_code="bug"))])
    receiver = Receiver(Inbox("enrolment"), enrolment.database, HASTY)  # consumes nothing any more
    await settle(enrolment, receiver)
    assert await enrolment.dead_letters() == ["handler_failed"]
    assert "does not consume" in await enrolment.one("select error from parked_messages")


async def test_a_poison_message_is_counted_before_it_is_tried(enrolment):
    attempts = []

    async def look(session, event):
        async with enrolment.database.transaction() as other:
            attempts.append(await other.scalar(text("select attempt from inbox_retry")))
        raise ZeroDivisionError

    receiver = consuming(look, enrolment)
    await receiver.suspect_poison([body_of(refund_of()), b"and one unreadable"], "dead-lettered")
    await settle(enrolment, receiver)
    assert attempts == [2, 3, 4]
    assert await enrolment.dead_letters() == ["malformed", "handler_failed"]


async def test_a_poison_message_that_is_known_already_is_left_alone(enrolment):
    done, failing = body_of(refund_of()), body_of(refund_of(reason_code="bug"))
    await enrolment.receiver.take([done, failing])
    await settle(enrolment)
    await enrolment.receiver.suspect_poison([done, failing], "dead-lettered")
    assert await enrolment.one("select count(*) from inbox_retry") == 0


async def test_what_the_release_before_did_not_consume_has_its_effect_once_in_this_one(enrolment):
    """While both run, the old one takes from the same queue what only the new one consumes."""
    event, foreign = refund_of(), body_of(confirmed(new_id()))
    before = Receiver(Inbox("enrolment"), enrolment.database, HASTY)
    await before.take([body_of(event), foreign])
    assert await enrolment.dead_letters() == ["unknown_type", "unknown_type"]

    release = consuming(write_effect, enrolment)
    assert (await release.retry_newly_subscribed(), await release.retry_newly_subscribed()) == (1, 0)
    await settle(enrolment, release)
    assert await enrolment.effects(event) == 1
    assert await enrolment.all(
        "select resolution, resolved_by from parked_messages where type = :type", type=event.type
    ) == [("redriven", "enrolment")]
    assert await enrolment.dead_letters() == ["unknown_type"]  # what neither consumes is a person's


OPTIONAL = (
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "traceparent",
    "requestid",
    "causationid",
    "of_a_later_release",
)
OF_EVERY_JSON_TYPE = [None, True, 7, 1.5, "", "a\0b", "\ud800", ["x"], {"a": {}}]


async def test_an_optional_attribute_of_any_json_type_fails_no_event(enrolment):
    names = set(json.loads(envelope(refund_of(), id=new_id(), time=NOON, traceparent="", request_id="", causation="")))
    assert names - {"specversion", "id", "source", "type", "data"} <= set(OPTIONAL)
    events, bodies = [], []
    for name in OPTIONAL:
        for value in [*OF_EVERY_JSON_TYPE, f"00-{'1' * 32}-{'2' * 16}-01\n", "request-1\n"]:
            events.append(refund_of())
            bodies.append(json.dumps(json.loads(body_of(events[-1])) | {name: value}).encode())
    seen = []

    async def note(session, event):
        seen.append((telemetry.request_id.get(), telemetry.traceparent.get()))
        await write_effect(session, event)

    receiver = consuming(note, enrolment)
    await receiver.take(bodies)
    assert await enrolment.effects() == len(events), await enrolment.all("select last_error from inbox_retry")
    assert await enrolment.dead_letters() == []
    assert all(request is None and telemetry.TRACEPARENT.match(trace) for request, trace in seen)


async def test_what_a_handler_announces_names_its_cause_and_its_request(enrolment):
    async def answer(session, event):
        publish(
            session,
            RefundCompleted(
                refund_id=event.refund_id,
                order_id=event.order_id,
                learner_id=event.learner_id,
                amount_minor=event.amount_minor,
                currency=event.currency,
                completed_at=event.requested_at,
            ),
        )

    cause = json.loads(body_of(refund_of())) | {
        "requestid": "request-1",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    await consuming(answer, enrolment).take([json.dumps(cause).encode()])
    effect = json.loads(await enrolment.one("select body from outbox"))
    assert effect["causationid"] == cause["id"]
    assert effect["requestid"] == "request-1"
    assert effect["traceparent"].split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"
