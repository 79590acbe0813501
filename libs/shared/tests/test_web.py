"""The HTTP door: one transaction a request, repeats that are safe, failures that are problem documents."""

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import random
import types

import delivery
import httpx
import pytest
from delivery import ACCESS, Refund
from fastapi import Response
from fastapi.responses import PlainTextResponse
from processes import service_of
from sqlalchemy import text
from stations import eventually

from shared.access import TokenVerifier, anyone
from shared.database import HotStatement, fetch, lock_number
from shared.errors import Invalid
from shared.ids import new_id
from shared.messaging import publish
from shared.messaging.hot import LongWay
from shared.messaging.message import read
from shared.service import Process
from shared.testing import AUDIENCE, ISSUER, Issuer, ServiceUnderTest, StandingClock
from shared.web import Call, DatabaseOf, Instant, Router, Session, View, refusals
from shared.web.openapi import refusals_of

router = Router()


@router.post("/v1/mistakes", operation_id="swallow_error")
async def swallow_error(session: Session) -> dict[str, str]:
    publish(session, delivery.refund_of())
    await session.flush()
    with contextlib.suppress(Exception):  # the mistake under test
        await session.execute(text("insert into refunds values (gen_random_uuid(), gen_random_uuid(), 0)"))
    return {"said": "all is well"}


@router.post("/v1/savepoints", operation_id="forgive_error")
async def forgive_error(session: Session) -> dict[str, str]:
    publish(session, delivery.refund_of())
    try:
        async with session.begin_nested():
            await session.execute(text("insert into refunds values (gen_random_uuid(), gen_random_uuid(), 0)"))
    except Exception:  # noqa: BLE001, S110 - the savepoint has dealt with it
        pass
    return {"said": "all is well"}


@router.post("/v1/refusals", operation_id="refuse_late")
async def refuse_late(session: Session) -> None:
    publish(session, delivery.refund_of())
    await session.flush()
    await fetch(session, Refund, new_id())


@router.get("/v1/sleep", operation_id="hold_connection")
async def hold_connection(session: Session) -> None:
    await session.execute(text("select pg_sleep(1)"))


@router.get("/v1/hot", operation_id="read_hot")
async def read_hot(database: DatabaseOf, seconds: float = 0, of: int = 1) -> dict[str, int]:
    row = await ONE.row(database, seconds=seconds, number=6, of=of)
    return {"half": row["half"], "whole": row["whole"]}


ONE = HotStatement("select :number::int / :of::int as half, :number::int as whole, pg_sleep(:seconds)")


@router.post("/v1/patience", operation_id="wait_for_lock")
async def wait_for_lock(session: Session) -> None:
    await session.execute(text("lock table refunds in access exclusive mode"))


class OddAmount(Invalid):
    """Only an even amount can be halved.

    The rest is for whoever reads the code.
    """


class HalfView(View):
    half: int
    halved_at: Instant


@router.get("/v1/halves/{amount}", operation_id="halve_amount", responses=refusals(OddAmount))
async def halve_amount(amount: int) -> HalfView:
    raise OddAmount(f"{amount} is odd")


@router.get("/v1/plain", operation_id="read_plain")
async def read_plain() -> PlainTextResponse:
    """Documented as JSON, for nobody said otherwise."""
    return PlainTextResponse("plain")


OPEN = {
    name: anyone()
    for name in (
        "swallow_error",
        "forgive_error",
        "refuse_late",
        "hold_connection",
        "read_hot",
        "wait_for_lock",
        "halve_amount",
        "read_plain",
    )
}


@pytest.fixture
def payments(stations):
    return stations["payments"]


PATHS = {"session": "/v1/refunds", "hot": "/v1/hot-refunds"}


@pytest.fixture
def way(request, monkeypatch):
    """How a refund is asked for: through the session, or in one statement before it."""
    monkeypatch.setitem(PATHS, "asked", PATHS[request.param])
    return request.param


both_ways = pytest.mark.parametrize("way", ["session", "hot"], indirect=True)
hot_way = pytest.mark.parametrize("way", ["hot"], indirect=True)


@pytest.fixture
async def api(payments, tmp_path):
    issuer = Issuer()
    service = service_of(
        "payments",
        payments.url,
        verifier=TokenVerifier(ISSUER, AUDIENCE, issuer.keys),
        mail_folder=str(tmp_path),
        pool_size=2,
        pool_timeout_seconds=0.3,
    )
    service = dataclasses.replace(service, routers=[*service.routers, router], access={**ACCESS, **OPEN})
    process = Process(service)
    process.issuer = issuer
    yield process
    await process.http.aclose()
    await process.database.dispose()


def client(api, token=None):
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(api.app, raise_app_exceptions=False),
        base_url="http://payments",
        headers={"Authorization": f"Bearer {token or api.issuer.token('learner')}"},
    )


async def ask(caller, key="key-1", amount=49500):
    headers = {} if key is None else {"Idempotency-Key": key}
    return await caller.post(PATHS.get("asked", PATHS["session"]), json={"amount_minor": amount}, headers=headers)


async def counts(station):
    return tuple(
        [await station.one(f"select count(*) from {name}") for name in ("refunds", "outbox", "idempotency_keys")]
    )


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
            operation = {"session": "request_refund", "hot": "request_refund_hot"}[way]
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
                request = asyncio.create_task(cut_off(ask(caller, key), at, later))
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


@hot_way
async def test_a_hot_command_writes_rows_events_and_reply_without_a_session(api, payments, way, sessions_are_shut):
    class Sender:
        def has_room(self, count):
            return True

        def take(self, rows):
            taken.extend(rows)

    learner, taken = new_id(), []
    api.wakeup.relay = Sender()
    async with client(api, api.issuer.token("learner", id=learner)) as caller:
        answer = await ask(caller)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    [(event_id, *_)] = taken
    assert await payments.one("select id from outbox where next_attempt_at > now()") == event_id
    [(refund_id, learner_id, amount)] = await payments.all("select refund_id, learner_id, amount_minor from refunds")
    assert (str(refund_id), learner_id, amount) == (answer.json()["refund_id"], learner, 49500)
    message = read((await payments.one("select body from outbox")).encode())
    assert (message.event.refund_id, message.request_id) == (refund_id, answer.headers["x-request-id"])
    [(*asked, body)] = await payments.all(
        "select caller, operation, key, status, headers->>'content-type', body from idempotency_keys"
    )
    assert asked == [str(learner), "request_refund_hot", "key-1", 201, "application/json"]
    assert body == answer.content


@hot_way
async def test_what_is_out_of_the_ordinary_goes_the_long_way(api, payments, way):
    """The condition does not hold, or somebody holds what it looks at."""
    learner = new_id()
    async with payments.database.messaging.begin() as connection:
        await connection.execute(text(f"insert into standings values ('{learner}', 'held')"))
    with pytest.raises(LongWay):
        await delivery.ASK.run(api.database, [], [delivery.refund_of()], learner_id=learner)
    assert await counts(payments) == (0, 0, 0)
    async with client(api, api.issuer.token("learner", id=learner)) as caller:
        assert (await ask(caller)).status_code == 201
    assert await counts(payments) == (1, 1, 1)


async def test_a_hot_command_writes_nothing_that_is_there_already(api, payments):
    taken = Refund(refund_id=new_id(), learner_id=new_id(), amount_minor=1)
    await delivery.ASK.run(api.database, [taken], [delivery.refund_of()], learner_id=taken.learner_id)
    another = Refund(refund_id=new_id(), learner_id=new_id(), amount_minor=1)
    for _ in range(2 * 2 * api.database.web.pool.size()):  # more often than there are connections
        with pytest.raises(LongWay):
            await delivery.ASK.run(api.database, [another, taken], [delivery.refund_of()], learner_id=taken.learner_id)
    assert await counts(payments) == (1, 1, 0)


async def test_events_of_a_hot_command_keep_their_order(api, payments):
    events = [delivery.refund_of() for _ in range(20)]
    await delivery.ASK.run(api.database, [], events, learner_id=new_id())
    bodies = await payments.all("select body from outbox order by position")
    assert [read(body.encode()).event.refund_id for (body,) in bodies] == [event.refund_id for event in events]


@hot_way
async def test_ownership_is_proven_before_anything_is_written_hot(api, payments, way, monkeypatch):
    async def forget_to_ask(call: Call) -> Response:
        response = Response(b"{}", 201)
        await delivery.ASK.run(
            api.database, [], [delivery.refund_of()], reply=call.stored(response), learner_id=new_id()
        )
        return response

    [route] = [route for route in delivery.router.routes if route.operation_id == "request_refund_hot"]
    monkeypatch.setattr(route, "hot", forget_to_ask)
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
        told = answer.json()
        answers.append((answer.status_code, told.get("code"), told.get("errors"), told.get("amount_minor")))
    assert answers[0] == answers[1]
    assert answers[0][0] == status


async def test_a_swallowed_error_of_a_statement_is_no_success(api, payments):
    """PostgreSQL answers COMMIT of a failed transaction with a rollback and no error: the reply must not say 200."""
    async with client(api) as caller:
        answer = await caller.post("/v1/mistakes")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert await counts(payments) == (0, 0, 0)
        assert (await caller.post("/v1/savepoints")).status_code == 200  # one in a savepoint may be dealt with
    assert await counts(payments) == (0, 1, 0)


async def test_a_refusal_undoes_what_the_request_did(api, payments):
    async with client(api) as caller:
        answer = await caller.post("/v1/refusals")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert await counts(payments) == (0, 0, 0)


async def test_no_connection_to_be_had_is_503_with_retry_after(api):
    async with client(api) as caller:
        answers = await asyncio.gather(*(caller.get("/v1/sleep") for _ in range(8)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 4  # two connections and two more
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
        assert answer.headers["retry-after"]


async def test_a_hot_read_names_its_values_and_is_refused_like_any_other(api):
    async with client(api) as caller:
        assert (await caller.get("/v1/hot", params={"of": 2})).json() == {"half": 3, "whole": 6}
        wrong = await caller.get("/v1/hot", params={"of": 0})  # our fault, not the database's
        assert (wrong.status_code, wrong.json()["code"]) == (500, "internal_error")
        answers = await asyncio.gather(*(caller.get("/v1/hot", params={"seconds": 1}) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 4
        assert (await caller.get("/v1/hot")).status_code == 200


async def test_a_hot_read_broken_off_leaves_nothing_behind(api):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ONE.row(api.database, seconds=3, number=6, of=1), 0.2)
    rows = await asyncio.gather(*(ONE.row(api.database, seconds=0, number=n, of=1) for n in range(8)))
    assert [row["whole"] for row in rows] == list(range(8))
    assert api.database.web.pool.checkedout() == 0


async def test_a_lock_held_by_another_is_503_and_not_our_fault(api, payments):
    async with client(api) as caller, payments.database.transaction() as other:
        await other.execute(text("lock table refunds in share mode"))
        answer = await caller.post("/v1/patience")
    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "no_such_operation"),
        ("PATCH", "/v1/terms", 405, "method_not_allowed"),
        ("GET", "/v1/refunds/17", 422, "invalid_request"),
    ],
)
async def test_every_refusal_is_a_problem_document(api, method, path, status, code):
    async with client(api) as caller:
        answer = await caller.request(method, path)
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["type"] == f"/problems/{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]


@both_ways
async def test_unknown_fields_are_refused(api, payments, way):
    async with client(api) as caller:
        answer = await caller.post(
            PATHS["asked"], json={"amount_minor": 1, "learner_id": "x"}, headers={"Idempotency-Key": "k"}
        )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/body/learner_id"
    assert await counts(payments) == (0, 0, 0)


@pytest.mark.parametrize("given", ["short", "x" * 65, 'with"quote-and-more', "line\u2028break-12345", ""])
async def test_a_request_id_that_is_no_good_in_a_log_is_replaced(api, given):
    async with client(api) as caller:
        good = await caller.get("/v1/terms", headers={"X-Request-Id": "0123-abcd_EF.9"})
        bad = await caller.get("/v1/terms", headers={"X-Request-Id": given.encode()})
    assert good.headers["x-request-id"] == "0123-abcd_EF.9"
    assert bad.headers["x-request-id"] != given
    assert len(bad.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "given",
    [
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "nonsense",
    ],
)
async def test_a_malformed_traceparent_is_replaced(api, payments, given):
    async with client(api) as caller:
        await caller.post("/v1/savepoints", headers={"traceparent": given})
    body = await payments.one("select body from outbox")
    assert given.split("-")[1:2] != body.split('"traceparent": "')[1].split("-")[1:2]


async def test_the_log_names_the_route_and_never_the_path(api, caplog):
    caplog.set_level(logging.INFO)
    refund_id = new_id()
    async with client(api) as caller:
        await caller.get(f"/v1/refunds/{refund_id}?token=secret")
    (line,) = [record for record in caplog.records if record.name == "access"]
    assert (line.route, line.status) == ("/v1/refunds/{refund_id}", 404)
    assert not any(str(refund_id) in str(vars(record)) for record in caplog.records if record.name == "access")


def test_an_operation_names_its_refusals(api):
    document = api.api.openapi()
    halve, refund = document["paths"]["/v1/halves/{amount}"]["get"], document["paths"]["/v1/refunds"]["post"]
    assert refusals_of(halve) == {
        "odd_amount",
        "invalid_request",
        "invalid_token",
        "issuer_unreachable",
        "not_found",
        "temporarily_unavailable",
    }
    assert halve["responses"]["422"]["description"] == "Invalid content: `odd_amount`, `invalid_request`"
    example = {"$ref": "#/components/examples/odd_amount"}
    assert halve["responses"]["422"]["content"]["application/problem+json"]["examples"]["odd_amount"] == example
    told = document["components"]["examples"]["odd_amount"]
    assert told["summary"] == told["value"]["detail"] == "Only an even amount can be halved."
    assert refusals_of(refund) >= {
        "invalid_token",
        "not_permitted",
        "idempotency_key_missing",
        "idempotency_key_reused",
    }


def test_a_key_is_required_and_an_instant_is_one(api):
    document = api.api.openapi()
    (key,) = document["paths"]["/v1/refunds"]["post"]["parameters"]
    assert (key["name"], key["required"], key["schema"]["type"]) == ("Idempotency-Key", True, "string")
    assert document["components"]["schemas"]["HalfView"]["properties"]["halved_at"]["format"] == "date-time"


def test_two_applications_of_the_same_routes_have_the_same_document(api):
    assert Process(api.service).api.openapi() == api.api.openapi()


async def test_an_answer_that_was_never_told_fails_the_test(api):
    tested = ServiceUnderTest(api.service, StandingClock(), every_answer_told=True)
    async with tested.client() as caller:
        assert (await caller.get("/v1/halves/3")).json()["code"] == "odd_amount"
        with pytest.raises(AssertionError, match="never told of not_found"):
            await caller.post("/v1/refusals")
        with pytest.raises(AssertionError, match="never told of text/plain with 200"):
            await caller.get("/v1/plain")
    await tested.process.http.aclose()
    await tested.process.database.dispose()
