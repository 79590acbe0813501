"""Commands over HTTP: repeats that are safe, through the session and in one statement before it."""

import asyncio
import itertools
import random
import types

import pytest
from fastapi import Response
from sqlalchemy import text

from shared.database import lock_number
from shared.ids import new_id
from shared.messaging.fast_path import Fallback
from shared.messaging.message import read
from shared.web import Call
from shared.web.routing import Operation

from . import delivery
from .delivery import Refund, refund_in
from .messaging_nodes import eventually
from .refunds_api import PATHS, ask, both_ways, client, counts, fast_way


@both_ways
@pytest.mark.parametrize("key", [None, "", "k" * 256], ids=["none", "empty", "too long"])
async def test_without_a_key_nothing_is_done(api, payments, key, way):
    async with client(api) as caller:
        answer = await ask(caller, key)
    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"idempotency_key_missing", "invalid_request"}
    assert answer.headers["content-type"] == "application/problem+json"
    assert await counts(payments) == (0, 0, 0)


@both_ways
async def test_a_repeat_gets_the_same_answer_and_has_no_second_effect(api, payments, way):
    async with client(api) as caller:
        first = await ask(caller)
        repeats = [await ask(caller) for _ in range(3)]
    assert first.status_code == 201
    assert "idempotency-replayed" not in first.headers
    for repeat in repeats:
        assert (repeat.status_code, repeat.content) == (201, first.content)
        assert repeat.headers["idempotency-replayed"] == "true"
        assert repeat.headers["content-type"] == first.headers["content-type"]
    assert await counts(payments) == (1, 1, 1)


@both_ways
async def test_the_same_key_with_another_body_is_refused(api, payments, way):
    async with client(api) as caller:
        await ask(caller)
        answer = await ask(caller, amount=1)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await counts(payments) == (1, 1, 1)


@both_ways
async def test_the_same_key_of_another_caller_is_another_key(api, payments, way):
    for _ in range(2):
        async with client(api) as caller:
            assert (await ask(caller)).status_code == 201
    assert await counts(payments) == (2, 2, 2)


@both_ways
async def test_a_key_in_use_at_this_moment_is_refused_for_now(api, payments, way):
    learner = new_id()
    async with client(api, api.issuer.token("learner", id=learner)) as caller:
        async with payments.database.transaction() as running:
            operation = {"session": "request_refund", "fast": "request_refund_fast"}[way]
            number = lock_number(learner, operation, "key-1")
            await running.execute(text("select pg_advisory_xact_lock(:n)"), {"n": number})
            answer = await ask(caller)
            assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_running")
            assert answer.headers["retry-after"] == "1"
        assert (await ask(caller)).status_code == 201


@both_ways
async def test_fifty_clicks_at_once_have_one_effect_and_one_answer(api, payments, way):
    learner = new_id()
    async with client(api, api.issuer.token("learner", id=learner)) as caller:
        answers = await asyncio.gather(*(ask(caller) for _ in range(50)))
        last = await ask(caller)
    assert {answer.status_code for answer in answers} <= {201, 409, 503}
    assert {answer.content for answer in answers if answer.status_code == 201} == {last.content}
    assert await counts(payments) == (1, 1, 1)


@both_ways
async def test_a_failure_is_not_remembered_as_an_answer(api, payments, way):
    async with client(api) as caller:
        failed = await ask(caller, amount=0)  # breaks a constraint of the table
        again = await ask(caller, amount=0)
        assert (failed.status_code, again.status_code) == (500, 500)
        assert failed.json()["code"] == "internal_error"
        assert (await ask(caller)).status_code == 201  # the key is still free
    assert await counts(payments) == (1, 1, 1)


@types.coroutine
def cut_off(work, at, later):
    """Do `work`, cancelled `later` seconds after the task began to wait for the `at`-th time."""
    step, given, waits = work.send, None, 0
    while True:
        try:
            awaited = step(given)
        except StopIteration as done:
            return done.value
        waits += 1
        if waits == at:
            task = asyncio.current_task()
            asyncio.get_running_loop().call_later(later, task.cancel) if later else task.cancel()
        try:
            step, given = work.send, (yield awaited)
        except BaseException as error:  # noqa: BLE001 - the work's to handle
            step, given = work.throw, error


@both_ways
async def test_a_request_that_is_cut_off_has_its_effect_once_or_not_at_all(api, payments, way):
    """Cancelled at each point where it waits, at once and a little later, then repeated with the same key."""
    chance = random.Random(20261123)  # noqa: S311 - to be repeatable
    outcomes = {}
    async with client(api) as caller:
        for at in itertools.count(1):
            for n in range(4):
                key, later = f"key-{at}-{n}", n and chance.uniform(0.0, 0.001)
                request = asyncio.ensure_future(cut_off(ask(caller, key), at, later))
                outcomes[key] = (await asyncio.gather(request, return_exceptions=True))[0]
            if not isinstance(outcomes[f"key-{at}-0"], asyncio.CancelledError):
                break

        async def free():
            return not await payments.one(
                "select count(*) from pg_locks where locktype = 'advisory' and database = "
                "(select oid from pg_database where datname = current_database())"
            )

        await eventually(free)
        for key in outcomes:
            assert (await ask(caller, key)).status_code == 201
    assert await counts(payments) == (len(outcomes),) * 3
    assert isinstance(outcomes["key-1-0"], asyncio.CancelledError)
    idle = (
        "select count(*) from pg_stat_activity where state like 'idle in transaction%' and datname = current_database()"
    )
    assert await payments.one(idle) == 0


@pytest.fixture
def sessions_are_shut(api, monkeypatch):
    """Whatever still goes through a session fails."""
    monkeypatch.setattr(api.database, "requests", None)


@fast_way
async def test_a_command_on_the_fast_path_writes_rows_events_and_reply_without_a_session(
    api, payments, way, sessions_are_shut
):
    class Sender:
        def has_room(self, count):
            return True

        def take(self, rows):
            taken.extend(rows)

    learner, taken = new_id(), []
    api.notifier.relay = Sender()
    async with client(api, api.issuer.token("learner", id=learner)) as caller:
        answer = await ask(caller)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    [(event_id, *_)] = taken
    assert await payments.one("select id from outbox where next_attempt_at > now()") == event_id
    [(refund_id, learner_id, amount)] = await payments.all("select refund_id, learner_id, amount_minor from refunds")
    assert (str(refund_id), learner_id, amount) == (answer.json()["refund_id"], learner, 49500)
    body = await payments.one("select body from outbox")
    assert (refund_in(body).refund_id, read(body.encode()).request_id) == (refund_id, answer.headers["x-request-id"])
    [(*asked, body)] = await payments.all(
        "select caller, operation, key, status, headers->>'content-type', body from idempotency_keys"
    )
    assert asked == [str(learner), "request_refund_fast", "key-1", 201, "application/json"]
    assert body == answer.content


@fast_way
async def test_what_is_out_of_the_ordinary_takes_the_fallback(api, payments, way):
    """The condition does not hold, or somebody holds what it looks at."""
    learner = new_id()
    async with payments.database.messaging.begin() as connection:
        await connection.execute(text(f"insert into standings values ('{learner}', 'held')"))
    with pytest.raises(Fallback):
        await delivery.ASK.run(api.database, [], [delivery.refund_of()], learner_id=learner)
    assert await counts(payments) == (0, 0, 0)
    async with client(api, api.issuer.token("learner", id=learner)) as caller:
        assert (await ask(caller)).status_code == 201
    assert await counts(payments) == (1, 1, 1)


async def test_a_command_on_the_fast_path_writes_nothing_that_is_there_already(api, payments):
    taken = Refund(refund_id=new_id(), learner_id=new_id(), amount_minor=1)
    await delivery.ASK.run(api.database, [taken], [delivery.refund_of()], learner_id=taken.learner_id)
    another = Refund(refund_id=new_id(), learner_id=new_id(), amount_minor=1)
    for _ in range(2 * 2 * api.database.web.pool.size()):  # more often than there are connections
        with pytest.raises(Fallback):
            await delivery.ASK.run(api.database, [another, taken], [delivery.refund_of()], learner_id=taken.learner_id)
    assert await counts(payments) == (1, 1, 0)


async def test_events_of_a_command_on_the_fast_path_keep_their_order(api, payments):
    events = [delivery.refund_of() for _ in range(20)]
    await delivery.ASK.run(api.database, [], events, learner_id=new_id())
    bodies = await payments.all("select body from outbox order by position")
    assert [refund_in(body).refund_id for (body,) in bodies] == [event.refund_id for event in events]


@fast_way
async def test_ownership_is_proven_before_anything_is_written_on_the_fast_path(api, payments, way, monkeypatch):
    async def forget_to_ask(call: Call) -> Response:
        response = Response(b"{}", 201)
        await delivery.ASK.run(
            api.database, [], [delivery.refund_of()], reply=call.stored(response), learner_id=new_id()
        )
        return response

    [route] = [
        route
        for route in delivery.router.routes
        if isinstance(route, Operation) and route.operation_id == "request_refund_fast"
    ]
    monkeypatch.setattr(route, "fast_path", forget_to_ask)
    async with client(api) as caller:
        assert (await ask(caller)).status_code == 500
    assert await counts(payments) == (0, 0, 0)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"json": {"amount_minor": 5}}, 201),
        ({"content": b'{"amount_minor": 5}', "headers": {"content-type": "application/json; charset=utf-8"}}, 201),
        ({"content": b'{"amount_minor": 5}', "headers": {"content-type": "text/plain"}}, 422),
        ({"content": b'{"amount_minor": "5"}', "headers": {"content-type": "application/json"}}, 201),
        ({"content": b'{"amount_minor": null}', "headers": {"content-type": "application/json"}}, 422),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422),
        ({}, 422),
    ],
)
async def test_a_body_is_read_alike_on_both_ways(api, sent, status):
    answers = []
    for path in PATHS.values():
        headers = {"Idempotency-Key": "k", **sent.get("headers", {})}
        async with client(api) as caller:
            answer = await caller.post(path, **{**sent, "headers": headers})
        received = answer.json()
        answers.append((answer.status_code, received.get("code"), received.get("errors"), received.get("amount_minor")))
    assert answers[0] == answers[1]
    assert answers[0][0] == status
