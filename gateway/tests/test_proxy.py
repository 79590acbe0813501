"""What the front door does for a request that may pass."""

import asyncio
import contextlib
import hashlib
import os
import re
import socket

import pytest

from gateway.edge.guard import Limits
from gateway.edge.proxy import ProxyPolicy
from gateway.edge.server import GuardedProtocol

from .proxy_harness import OK, ScriptedService, front_door

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


# Headers


async def test_what_callers_claim_about_themselves_never_reaches_a_service():
    claims = [
        "X-User-Id: 1", "X-User: root", "X-Account-Id: 1", "X-Roles: operator", "X-Role: operator", "X-Auth-User: a",
        "X-Internal-Token: a", "Forwarded: for=10.0.0.1", "X-Forwarded-User: a", "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Host: evil", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /a", "X-Real-IP: 10.0.0.1",
        "X-Original-URL: /internal", "X-Rewrite-URL: /internal", "X-HTTP-Method-Override: DELETE", "Via: 1.1 evil",
        "X-Request-Timeout-Ms: 999999", "True-Client-IP: 10.0.0.1", "Proxy-Authorization: Basic x", "TE: trailers",
    ]  # fmt: skip
    async with front_door() as door:
        assert (await door.get("/v1/courses", *claims, "X-Kept: yes")).status == 200
    headers = door.service.seen[0].headers
    assert headers == {
        "host": [f"127.0.0.1:{door.service.port}"],
        "x-request-id": headers["x-request-id"],
        "traceparent": headers["traceparent"],
        "x-forwarded-for": ["127.0.0.1"],
        "x-forwarded-host": ["door.example"],
        "x-forwarded-proto": ["http"],
        "x-request-timeout-ms": ["1000"],
        "x-kept": ["yes"],
    }


async def test_what_connection_names_concerns_this_hop_alone():
    async with front_door() as door:
        await door.get("/v1/courses", "Connection: x-user-id, X-Hop, close", "X-User-Id: 1", "X-Hop: a", "X-Hop-2: b")
    headers = door.service.seen[0].headers
    assert "x-hop" not in headers
    assert "x-user-id" not in headers
    assert headers["x-hop-2"] == ["b"]


async def test_what_is_the_services_business_passes_unchanged():
    async with front_door() as door:
        await door.get(
            "/v1/courses/caf%C3%A9?q=a%2Fb&q=%20",
            "Authorization: Basic abc",
            "Idempotency-Key: k-1",
            'If-None-Match: "a", "b"',
            "Accept: application/json",
            "Cookie: a=b",
            "X-Odd: h\xe9",
        )  # fmt: skip
    seen = door.service.seen[0]
    assert seen.line == b"GET /v1/courses/caf%C3%A9?q=a%2Fb&q=%20 HTTP/1.1"
    assert seen.headers["authorization"] == ["Basic abc"]
    assert seen.headers["idempotency-key"] == ["k-1"]
    assert seen.headers["if-none-match"] == ['"a", "b"']
    assert seen.headers["x-odd"] == ["h\xe9"]


async def test_one_id_and_one_trace_go_all_the_way():
    async with front_door() as door:
        answer = await door.get("/v1/courses", "X-Request-Id: my-request-1", f"traceparent: {TRACE}")
        await asyncio.sleep(0.3)
    headers = door.service.seen[0].headers
    assert answer.headers["x-request-id"] == "my-request-1"
    assert headers["x-request-id"] == ["my-request-1"]
    assert headers["traceparent"][0][:36] == TRACE[:36]
    assert headers["traceparent"][0] != TRACE  # a span of our own
    assert [line["request_id"] for line in door.log] == ["my-request-1"]
    assert door.log[0]["route"] == "/v1/courses"
    assert door.log[0]["status"] == 200


@pytest.mark.parametrize(
    "given", ["00-0-0-00", TRACE.upper(), "00-" + "0" * 32 + "-b7ad6b7169203331-01", TRACE + "-x", "ff" + TRACE[2:]]
)
async def test_a_malformed_trace_is_replaced(given):
    async with front_door() as door:
        answer = await door.get("/v1/courses", f"traceparent: {given}", "X-Request-Id: a b<script>")
    headers = door.service.seen[0].headers
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"][0])
    assert TRACE[3:35] not in headers["traceparent"][0]
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_behind_our_own_proxies_the_address_they_name_counts():
    proxy_policy = ProxyPolicy(trusted_hops=1, timeout=1.0)
    async with front_door(proxy_policy=proxy_policy) as door:
        await door.get("/v1/courses", "X-Forwarded-For: 6.6.6.6, 192.0.2.7")
        await door.get("/v1/courses", "X-Forwarded-For: nonsense")
    assert [seen.headers["x-forwarded-for"] for seen in door.service.seen] == [["192.0.2.7"], ["127.0.0.1"]]


async def test_where_a_proxy_is_in_front_and_nobody_has_said_so_the_log_says_it_once(caplog):
    for hops, warnings in ((0, 1), (1, 0)):
        caplog.clear()
        async with front_door(proxy_policy=ProxyPolicy(trusted_hops=hops, timeout=1.0)) as door:
            await door.get("/v1/courses")
            assert "MC_TRUSTED_HOPS" not in caplog.text
            for n in range(3):
                await door.get("/v1/courses", f"X-Forwarded-For: 192.0.2.{n}")
        assert caplog.text.count("MC_TRUSTED_HOPS") == warnings


async def test_an_answer_loses_what_concerned_its_own_hop():
    async def behave(seen, reader, writer):
        writer.write(
            b"HTTP/1.1 302 Found\r\nserver: secret/1.0\r\nconnection: keep-alive\r\nkeep-alive: timeout=5\r\n"
            b"location: http://" + seen.headers["host"][0].encode() + b"/v1/courses/\r\nx-request-id: theirs\r\n"
            b"access-control-allow-origin: *\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n"
        )
        return True

    async with front_door(ScriptedService(behave)) as door:
        answer = await door.get("/v1/courses", "Authorization: Basic x")
    assert answer.headers["location"] == "/v1/courses/"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] != "theirs"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "date" in answer.headers
    assert answer.raw.count(b"set-cookie: ") == 2
    for name in ("server", "connection", "keep-alive", "access-control-allow-origin"):
        assert name not in answer.headers


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answers_without_a_body(status):
    async def behave(seen, reader, writer):
        writer.write(b"HTTP/1.1 " + status + b'\r\netag: "a"\r\ncontent-length: 11\r\n\r\n' if status[:3] == b"304"
                     else b"HTTP/1.1 " + status + b"\r\n\r\n")  # fmt: skip
        return True

    async with front_door(ScriptedService(behave)) as door:
        for _ in range(2):
            answer = await door.get("/v1/courses")
            assert (answer.status, answer.body) == (int(status[:3]), b"")
    assert door.service.connections == 1


async def test_head_has_the_headers_of_get_and_no_body():
    async def behave(seen, reader, writer):
        writer.write(OK.partition(b'{"ok"')[0])
        return True

    async with front_door(ScriptedService(behave)) as door:
        first, second = await door.get("/v1/courses", method="HEAD"), await door.get("/v1/courses", method="HEAD")
    assert first.status == second.status == 200
    assert first.headers["content-length"] == "11"
    assert door.service.seen[0].line.startswith(b"HEAD ")
    assert door.service.connections == 1


async def test_connections_are_kept_and_requests_share_them():
    async with front_door() as door:
        for _ in range(20):
            assert (await door.get("/v1/courses")).status == 200
        assert door.service.connections == 1
        await asyncio.gather(*(door.get("/v1/courses") for _ in range(50)))
    assert len(door.service.seen) == 70
    assert door.service.connections <= 51


# Bodies


async def test_bodies_stream_both_ways_unchanged():
    payload = os.urandom(3_000_000)

    async def echo(seen, reader, writer):
        digest = hashlib.sha256(seen.body).hexdigest().encode()
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(digest), digest))
        for at in range(0, len(seen.body), 100_000):
            piece = seen.body[at : at + 100_000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        return True

    async with front_door(ScriptedService(echo), proxy_policy=ProxyPolicy(timeout=10)) as door:
        sized = await door.get("/v1/files/a", method="PUT", body=payload, seconds=10)
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (payload[:1_500_000], payload[1_500_000:]))
        head = b"PUT /v1/files/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked = await door.send(head, chunks, b"0\r\n\r\n", seconds=10)
    wanted = hashlib.sha256(payload).hexdigest().encode()
    assert wanted in sized.body[:200]
    assert wanted in chunked[:2000]
    assert [seen.body == payload for seen in door.service.seen] == [True, True]
    assert "content-length" in door.service.seen[0].headers
    assert door.service.seen[1].headers["transfer-encoding"] == ["chunked"]


async def test_a_stream_reaches_the_caller_while_it_lasts_and_ends_when_the_caller_leaves():
    left = asyncio.Event()

    async def ticks(seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"data: tick\n\n")
                await writer.drain()
                await asyncio.sleep(0.05)
                if reader.at_eof():
                    break
        left.set()
        return False

    async with front_door(ScriptedService(ticks)) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET /v1/courses HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        async with asyncio.timeout(3):
            while received.count(b"tick") < 3:
                received += await reader.read(1000)
        assert not left.is_set()
        writer.close()
        async with asyncio.timeout(3):
            await left.wait()


async def test_a_slow_caller_slows_the_service_down_instead_of_filling_our_memory():
    sent = 0

    async def pour(seen, reader, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n")
        writer.transport.set_write_buffer_limits(high=100_000)
        with contextlib.suppress(ConnectionError):
            while sent < 200_000_000:
                writer.write(b"a" * 100_000)
                await writer.drain()
                sent += 100_000
        return False

    async with front_door(ScriptedService(pour)) as door:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port, limit=1000)
        writer.write(b"GET /v1/courses HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(1)
        assert sent < 40_000_000  # kernel buffers and ours, not the whole
        writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_too_large_is_refused_and_never_complete_for_the_service(chunked):
    async with front_door() as door:
        if chunked:
            head = b"POST /v1/courses HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            answer = await door.send(
                head, b"258\r\n" + b"a" * 600 + b"\r\n", b"258\r\n" + b"a" * 600 + b"\r\n0\r\n\r\n"
            )
        else:
            answer = (await door.get("/v1/courses", method="POST", body=b"a" * 1001)).raw
        assert answer.startswith(b"HTTP/1.1 413")
        assert b'"code":"body_too_large"' in answer
        assert b"connection: close" in answer
        await asyncio.sleep(0.1)
        assert door.service.seen == []
        exact = await door.get("/v1/courses", method="POST", body=b"a" * 1000)
        assert exact.status == 200


@pytest.mark.parametrize("framing", [b"Content-Length: 7000000", b"Transfer-Encoding: chunked", b"X-Large: "])
async def test_who_is_still_sending_can_read_why_it_is_refused(framing):
    """As clients do that read no answer before all is sent: a connection reset would take it from them."""

    def upload(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
            caller.sendall(b"POST /v1/courses HTTP/1.1\r\nHost: a\r\n" + framing)
            caller.sendall(b"" if framing.endswith(b": ") else b"\r\n\r\n")
            for _ in range(70):
                caller.sendall(b"186a0\r\n" + b"a" * 100_000 + b"\r\n" if b"chunked" in framing else b"a" * 100_000)
            answer = b""
            while piece := caller.recv(65536):
                answer += piece
            return answer

    async with front_door() as door:
        answer = await asyncio.to_thread(upload, door.port)
        assert answer.startswith(b"HTTP/1.1 431" if b"X-Large" in framing else b"HTTP/1.1 413")
        assert answer.endswith(b"}"), "it is whole"
        assert door.service.seen == []


async def test_who_sends_on_and_on_is_cut_off(monkeypatch):
    monkeypatch.setattr(GuardedProtocol, "linger_bytes", 1_000_000)

    def upload(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
            caller.sendall(b"POST /v1/courses HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
            for _ in range(9999):
                caller.sendall(b"a" * 100_000)

    async with front_door() as door:
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(upload, door.port)


async def test_who_is_silent_after_a_refusal_is_left(monkeypatch):
    monkeypatch.setattr(GuardedProtocol, "linger_seconds", 0.2)
    async with front_door() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"POST /v1/courses HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 413")
        await asyncio.sleep(0.4)
        with pytest.raises(ConnectionError):
            for _ in range(10):
                writer.write(b"a" * 100_000)
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()


async def test_the_gateways_own_endpoints_have_the_same_bounds_and_the_same_clean_headers():
    async with front_door() as door:
        echo = (await door.get("/v1/accounts", "X-User-Id: 1", method="POST", body=b"a" * 10)).json()
        assert echo["size"] == 10
        assert "x-user-id" not in dict(echo["headers"])
        assert dict(echo["headers"])["content-length"] == "10"
        large = await door.get("/v1/accounts", method="POST", body=b"a" * 1001)
        assert (large.status, large.code) == (413, "body_too_large")
        head = b"POST /v1/accounts HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await door.send(head + b"7d0\r\n" + b"a" * 2000 + b"\r\n0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413")


async def test_an_answer_before_the_body_is_sent_ends_the_upload():
    async def refuse(seen, reader, writer):
        writer.write(b"HTTP/1.1 422 Unprocessable\r\ncontent-length: 2\r\n\r\nno")
        await writer.drain()
        return True

    service = ScriptedService(refuse, read_body=False)
    async with front_door(service, proxy_policy=ProxyPolicy(timeout=5)) as door:
        head = b"PUT /v1/files/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        answer = await door.send(head, b"a" * 1000)
        assert answer.startswith(b"HTTP/1.1 422")
        service.read_body = True
        assert (await door.get("/v1/courses")).status == 422
    assert service.connections == 2  # the half-sent request's connection serves nobody else


async def test_limits_are_what_the_settings_say():
    async with front_door(proxy_policy=ProxyPolicy(limits=Limits(headers=5), timeout=1)) as door:
        assert (await door.get("/v1/courses", *(f"X-{n}: a" for n in range(5)))).code == "headers_too_large"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(ConnectionRefusedError("database"), 503, "callers_unrecognisable"), (KeyError("bug"), 500, "internal_error")],
)
async def test_our_own_failures_are_problem_documents_too(error, status, code):
    async def fail():
        raise error

    async with front_door() as door:
        door.verifier.fetch_keys = fail
        answer = await door.get("/v1/courses", f"Authorization: Bearer {door.issuer.token('learner')}")
        assert (answer.status, answer.code) == (status, code)
        assert (await door.get("/v1/courses")).status == 200
    assert len(door.service.seen) == 1
