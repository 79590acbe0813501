"""The HTTP door: one transaction a request, failures that are problem documents, a document that lists all."""

import asyncio
import logging

import pytest
from sqlalchemy import text

from shared.ids import new_id
from shared.origins import LOOPBACK, AllowedOrigins
from shared.process import Process
from shared.testing.services import FrozenClock, ServiceUnderTest
from shared.web.openapi import errors_of

from .refunds_api import ONE, PATHS, both_ways, client, counts


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


async def test_a_read_on_the_fast_path_names_its_values_and_is_refused_like_any_other(api):
    async with client(api) as caller:
        assert (await caller.get("/v1/raw", params={"of": 2})).json() == {"half": 3, "whole": 6}
        wrong = await caller.get("/v1/raw", params={"of": 0})  # our fault, not the database's
        assert (wrong.status_code, wrong.json()["code"]) == (500, "internal_error")
        answers = await asyncio.gather(*(caller.get("/v1/raw", params={"seconds": 1}) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 4
        assert (await caller.get("/v1/raw")).status_code == 200


async def test_a_read_on_the_fast_path_broken_off_leaves_nothing_behind(api):
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


async def test_a_request_ends_when_its_caller_waits_no_longer(api, payments):
    key = {"Idempotency-Key": "slow"}
    async with client(api) as caller:
        late = await caller.post("/v1/slow-refunds", headers={**key, "X-Request-Timeout-Ms": "300"})
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        assert late.elapsed.total_seconds() < 0.9
        assert await counts(payments) == (0, 0, 0)
        again = await caller.post("/v1/slow-refunds", headers={**key, "X-Request-Timeout-Ms": "30000"})
        assert again.status_code == 200
    assert await counts(payments) == (0, 1, 1)
    assert api.database.web.pool.checkedout() == 0


@pytest.mark.parametrize("given", ["", "0.1", "-1", "soon", "٣٠", "9" * 5000])
async def test_a_wait_that_is_no_number_is_no_limit(api, given):
    async with client(api) as caller:
        answer = await caller.get("/v1/terms", headers={"X-Request-Timeout-Ms": given.encode()})
    assert answer.status_code == 200


async def test_an_answer_that_has_begun_goes_on_as_long_as_it_takes(api):
    async with client(api) as caller:
        answer = await caller.get("/v1/downloads", headers={"X-Request-Timeout-Ms": "300"})
    assert (answer.status_code, answer.text) == (200, "onetwothree")


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


@pytest.mark.parametrize("path", [PATHS["session"], "/v1/streams"])
async def test_a_caller_who_leaves_in_the_middle_of_a_body_is_no_failure_of_ours(api, caplog, path):
    caplog.set_level(logging.INFO)
    arriving = iter([{"type": "http.request", "body": b'{"amount', "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(arriving)

    async def send(message):
        pass

    headers = [(b"content-type", b"application/json"), (b"content-length", b"20")]
    if path == PATHS["session"]:
        headers.append((b"idempotency-key", b"left"))
    headers.append((b"authorization", f"Bearer {api.issuer.token('learner')}".encode()))
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await api.app(scope, receive, send)
    assert [one.status for one in caplog.records if one.message == "request"] == [499]
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


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
    assert errors_of(halve) == {
        "odd_amount",
        "invalid_request",
        "invalid_token",
        "issuer_unreachable",
        "not_found",
        "temporarily_unavailable",
        "unreadable_record",
    }
    assert halve["responses"]["422"]["description"] == "Invalid content: `odd_amount`, `invalid_request`"
    example = {"$ref": "#/components/examples/odd_amount"}
    assert halve["responses"]["422"]["content"]["application/problem+json"]["examples"]["odd_amount"] == example
    refusal_example = document["components"]["examples"]["odd_amount"]
    assert refusal_example["summary"] == refusal_example["value"]["detail"] == "Only an even amount can be halved."
    assert errors_of(refund) >= {
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


async def test_an_answer_that_is_not_documented_fails_the_test(api):
    tested = ServiceUnderTest(api.service, FrozenClock(), every_response_documented=True)
    async with tested.client() as caller:
        assert (await caller.get("/v1/halves/3")).json()["code"] == "odd_amount"
        with pytest.raises(AssertionError, match="does not document not_found"):
            await caller.post("/v1/refusals")
        with pytest.raises(AssertionError, match="does not document text/plain with 200"):
            await caller.get("/v1/plain")
    await tested.process.http.aclose()
    await tested.process.database.dispose()


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "https://localhost:8443", "https://127.0.0.1", "https://[::1]:1"]
)
def test_pages_of_ones_own_machine_may_call_whatever_serves_them(origin):
    assert origin in AllowedOrigins(LOOPBACK)
    assert origin.replace("://", "://evil.") not in AllowedOrigins(LOOPBACK)
