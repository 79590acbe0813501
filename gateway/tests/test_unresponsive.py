"""What the front door does when a service does not answer, and about callers that are slow, or too many."""

import asyncio
import contextlib
import time

import pytest

from gateway.edge.proxy import ProxyPolicy
from gateway.edge.routes import load

from .proxy_harness import OK, ScriptedService, answer_ok, front_door

# Services that do not answer


async def test_a_service_that_is_away_is_reported_at_once():
    async with front_door() as door:
        answer = await door.get("/v1/dead")  # not after the deadline: that would be another code
    assert (answer.status, answer.code) == (503, "service_unreachable")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_service_that_hangs_is_given_its_time_and_no_more():
    async def hang(seen, reader, writer):
        await asyncio.sleep(30)
        return False

    async with front_door(ScriptedService(hang)) as door:
        started = time.perf_counter()
        answer = await door.get("/v1/courses")
        assert 0.9 < time.perf_counter() - started < 30
        assert (answer.status, answer.code) == (504, "deadline_exceeded")
        assert (await door.get("/v1/courses", method="POST", body=b"a")).status == 504
    assert [seen.line.split()[0] for seen in door.service.seen] == [b"GET", b"POST"]  # asked once each


@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b"{}")])
async def test_the_gateways_own_operations_have_the_same_time(method, body):
    async with front_door() as door:
        answer = await door.get("/v1/accounts?silent", method=method, body=body)
        assert (answer.status, answer.code) == (504, "deadline_exceeded")
        assert (await door.get("/v1/accounts")).status == 200


async def test_a_caller_that_stalls_its_body_is_not_waited_for():
    async with front_door() as door:
        for raw in (
            b"POST /v1/courses HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
            b"POST /v1/courses HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
            b"POST /v1/accounts HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
        ):
            answer = await door.send(raw)
            assert answer.startswith(b"HTTP/1.1 408"), answer
    assert door.service.seen == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200",
    ],
)
async def test_a_service_that_answers_garbage_is_a_bad_gateway(garbage):
    async def behave(seen, reader, writer):
        writer.write(garbage)
        await writer.drain()
        return False

    async with front_door(ScriptedService(behave)) as door:
        answer = await door.get("/v1/courses", method="POST", body=b"a")
    assert answer.status in {502, 504}, answer.raw
    assert answer.code in {"service_failed", "deadline_exceeded"}
    assert len(door.service.seen) == 1  # a POST without a key is never sent twice


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "codings", [["gzip, chunked"], ["gzip", "chunked"], ["chunked, gzip"], ["gzip"], ["identity"], ["chunked, chunked"]]
)
async def test_an_answer_in_a_transfer_coding_nobody_asked_for_is_a_bad_gateway(codings, method):
    """The caller would be given the coded bytes as if they were the document itself."""
    fields = b"".join(b"Transfer-Encoding: %b\r\n" % coding.encode() for coding in codings)

    async def behave(seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n2\r\n\x1f\x8b\r\n0\r\n\r\n")
        await writer.drain()
        return False

    async with front_door(ScriptedService(behave)) as door:
        answer = await door.get("/v1/courses", method=method)
        assert answer.status == 502, answer.raw
        assert b"\x1f\x8b" not in answer.raw


async def test_a_chunked_answer_is_passed_on_however_it_is_spelt():
    async def behave(seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTRANSFER-encoding:  Chunked \r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        await writer.drain()
        return False

    async with front_door(ScriptedService(behave)) as door:
        assert (await door.get("/v1/courses")).json() == {}


ENDLESS = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"".join(b"x-%d: %b\r\n" % (n, b"a" * 900) for n in range(70))),
    "one line": (b"HTTP/1.1 200 OK\r\nx: ", b"a" * 65_536),
    "informational": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" * 1500),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_answer_whose_head_does_not_end_is_a_bad_gateway(kind):
    first, more = ENDLESS[kind]
    sent = 0

    async def pour(seen, reader, writer):
        nonlocal sent
        writer.write(first)
        with contextlib.suppress(OSError):
            while sent < 50_000_000:
                writer.write(more)
                await writer.drain()
                sent += len(more)
        return False

    async with front_door(ScriptedService(pour)) as door:
        answer = await door.get("/v1/courses", method="POST", body=b"a")
        assert (answer.status, answer.code) == (502, "service_failed")
        assert (await door.get("/v1/accounts")).status == 200
    assert sent < 5_000_000  # what fits into the sockets


async def test_an_answer_cut_short_is_cut_for_the_caller_too():
    async def behave(seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
        await writer.drain()
        return False

    async with front_door(ScriptedService(behave)) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET /v1/courses HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(3):
            received = await reader.read()  # to the end: the door closed
        writer.close()
    assert received.endswith(b"abc")
    assert b"content-length: 100" in received


async def test_informational_answers_are_skipped():
    async def behave(seen, reader, writer):
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK)
        return True

    async with front_door(ScriptedService(behave)) as door:
        answer = await door.get("/v1/courses")
    assert answer.json() == {"ok": True}
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    ("method", "headers", "keyed", "status"),
    [
        ("GET", (), (), 200),
        ("PUT", (), (), 200),
        ("PUT", ("If-Match: 1",), (), 502),  # the second would find the first's change
        ("DELETE", (), (), 502),  # the second would find nothing
        ("POST", (), (b"/v1/courses",), 502),
        ("POST", ("Idempotency-Key: k",), (b"/v1/courses",), 200),
        ("POST", ("Idempotency-Key: k",), (), 502),  # a key that nobody keeps
    ],
)
async def test_only_what_may_be_repeated_is_repeated_when_a_kept_connection_turns_out_dead(
    method, headers, keyed, status
):
    async def once_a_connection(seen, reader, writer):
        if len(service.seen) == 2:
            return False  # closes without an answer: as a restart does to a kept connection
        writer.write(OK)
        return True

    service = ScriptedService(once_a_connection)
    async with front_door(service, keyed=keyed) as door:
        assert (await door.get("/v1/courses")).status == 200
        assert (await door.get("/v1/courses", *headers, method=method)).status == status
    assert len(service.seen) == (3 if status == 200 else 2)


async def test_a_dead_service_is_not_asked_twice_as_much():
    async def die(seen, reader, writer):
        return False

    async with front_door(ScriptedService(die)) as door:
        for _ in range(40):
            assert (await door.get("/v1/courses")).status == 502
    assert len(door.service.seen) <= 48


async def test_bytes_nobody_asked_for_close_the_connection_instead_of_answering_somebody():
    async def two(seen, reader, writer):
        writer.write(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        return True

    async with front_door(ScriptedService(two)) as door:
        for _ in range(3):
            assert (await door.get("/v1/courses")).json() == {"ok": True}
    assert door.service.connections == 3


async def test_a_full_service_is_reported_quickly_and_frees_up():
    release = asyncio.Event()

    async def wait(seen, reader, writer):
        await release.wait()
        writer.write(OK)
        return True

    proxy_policy = ProxyPolicy(timeout=5)
    async with front_door(ScriptedService(wait), max_connections=2, proxy_policy=proxy_policy) as door:
        held = [asyncio.create_task(door.get("/v1/courses")) for _ in range(2)]
        await asyncio.sleep(0.2)
        third = await door.get("/v1/courses")
        assert (third.status, third.code) == (503, "service_busy")
        release.set()
        assert [answer.status for answer in await asyncio.gather(*held)] == [200, 200]
        assert (await door.get("/v1/courses")).status == 200


async def test_a_caller_who_leaves_takes_nobody_with_them():
    async def slow(seen, reader, writer):
        await asyncio.sleep(0.2)
        writer.write(OK)
        return True

    async with front_door(ScriptedService(slow)) as door:
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(b"POST /v1/courses HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
            await writer.drain()
            writer.transport.abort()
        answers = await asyncio.gather(*(door.get("/v1/courses") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}


# Slow and many callers


async def pour(seen, reader, writer):
    if not seen.line.endswith(b"/big HTTP/1.1"):
        return await answer_ok(seen, reader, writer)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % POURED)
    for _ in range(POURED // 100_000):
        writer.write(b"x" * 100_000)
        await writer.drain()
    return True


POURED = 40_000_000
ASKED = b"GET /v1/courses/big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def test_callers_who_stop_reading_hold_no_connection_of_the_service():
    async with front_door(ScriptedService(pour), max_connections=4, proxy_policy=ProxyPolicy(timeout=5)) as door:
        callers = [await asyncio.open_connection("127.0.0.1", door.port, limit=1000) for _ in range(4)]
        for _, writer in callers:
            writer.write(ASKED)
        await asyncio.sleep(3)
        assert (await door.get("/v1/courses")).json() == {"ok": True}
        assert len(door.upstream._connections) == len(door.upstream._idle) == 1
        for _, writer in callers:
            writer.close()


async def test_a_caller_who_reads_slowly_is_waited_for():
    async with front_door(ScriptedService(pour), proxy_policy=ProxyPolicy(timeout=5)) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(ASKED)
        started, received = time.perf_counter(), 0
        while time.perf_counter() - started < 2:  # four times as long as one who does not read at all
            received += len(await reader.read(300_000))
            await asyncio.sleep(0.02)
        async with asyncio.timeout(30):
            received += len(await reader.read())
        assert received > POURED
        writer.close()


async def test_two_hundred_half_open_sockets_slow_nobody_down():
    async with front_door() as door:
        sockets = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(200)]
        for _, writer in sockets:
            writer.write(b"GET /v1/courses HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        assert (await door.get("/v1/courses")).status == 200
        assert not any(reader.at_eof() for reader, _ in sockets)  # answered beside them, not after them
        async with asyncio.timeout(30):
            ends = await asyncio.gather(*(reader.read() for reader, _ in sockets))
        assert all(end.startswith(b"HTTP/1.1 408") for end in ends)
        for _, writer in sockets:
            writer.close()


async def test_a_header_that_never_ends_is_cut_off():
    async with front_door() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET /v1/courses HTTP/1.1\r\nHost: a\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"X-More: " + b"a" * 1000 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0)
            assert (await reader.read()).startswith(b"HTTP/1.1 431")
        writer.close()
    assert door.service.seen == []


async def test_the_allowance_is_stated_and_kept():
    async with front_door(rates={"anonymous": (3, 60)}) as door:
        answers = [await door.get("/v1/courses") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0", "r=0"]
    assert answers[0].headers["ratelimit-policy"] == '"anonymous";q=3;w=60'
    assert answers[3].code == "rate_limited"
    assert 0 < int(answers[3].headers["retry-after"]) <= 20
    assert len(door.service.seen) == 3


async def test_searching_has_a_limit_of_its_own_beside_that_of_all_requests():
    async with front_door(rates={"anonymous": (6, 60), "searches": (2, 60)}) as door:
        ada = f"Authorization: Bearer {door.issuer.token('learner')}"
        searches = [await door.get("/v1/courses?limit=3&%71=law") for _ in range(3)]
        assert [answer.status for answer in searches] == [200, 200, 429]
        assert searches[0].headers["ratelimit"].startswith('"searches";r=1')
        assert (await door.get("/v1/courses?limit=3&quota=1")).headers["ratelimit"].startswith('"anonymous";r=2')
        assert (await door.get("/v1/courses?q=law", ada)).status == 200
        assert [(await door.get("/v1/courses")).status for _ in range(3)] == [200, 200, 429]


async def test_callers_do_not_share_an_allowance_and_sign_in_has_its_own():
    async with front_door(rates={"anonymous": (1, 60), "person": (2, 60), "credentials": (1, 60)}) as door:
        ada, grace = (f"Authorization: Bearer {door.issuer.token('learner')}" for _ in range(2))
        partner = f"Authorization: Bearer {door.issuer.token(client_id='p', scopes=('a:b',))}"
        for _ in range(2):
            assert (await door.get("/v1/courses", ada)).status == 200
        assert (await door.get("/v1/courses", ada)).status == 429
        assert (await door.get("/v1/courses", grace)).status == 200
        assert (await door.get("/v1/courses", partner)).headers["ratelimit"].startswith('"partner"')
        assert (await door.get("/v1/accounts", method="POST")).status == 200
        assert (await door.get("/v1/accounts", ada, method="POST")).status == 429


async def test_probes_spend_nobodys_allowance():
    async with front_door(rates={"anonymous": (2, 60)}) as door:
        for _ in range(10):
            probe = await door.get("/health/live")
            assert (probe.status, probe.headers.get("ratelimit")) == (200, None)
        assert [(await door.get("/v1/courses")).status for _ in range(3)] == [200, 200, 429]
        assert (await door.get("/health/live")).status == 200


def test_of_the_routing_table_the_probes_alone_are_free():
    assert [route.prefix for route in load().table if route.free] == ["/health/live", "/health/ready"]
