"""Raw bytes in, an answer or a refusal out: what two parsers could read in two ways never reaches a service."""

import asyncio
import itertools

import pytest

from .proxy_harness import OK, Answer, front_door

HOST = b"Host: door.example\r\n"


def get(target: bytes, *headers: bytes) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"".join(h + b"\r\n" for h in headers) + b"\r\n"


def post(*headers: bytes, body: bytes) -> bytes:
    return b"POST /v1/courses HTTP/1.1\r\n" + HOST + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


REFUSED = {
    # two lengths, or none that all agree on
    "CL and TE": (post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nGET /v1/x"), 400),
    "TE and CL": (post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"0\r\n\r\nGET /v1/x"), 400),
    "two CL": (post(b"Content-Length: 3", b"Content-Length: 5", body=b"abcde"), 400),
    "two equal CL": (post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), 400),
    "CL list": (post(b"Content-Length: 3, 5", body=b"abcde"), 400),
    "CL plus": (post(b"Content-Length: +3", body=b"abc"), 400),
    "CL minus": (post(b"Content-Length: -3", body=b"abc"), 400),
    "CL hex": (post(b"Content-Length: 0x3", body=b"abc"), 400),
    "CL huge": (post(b"Content-Length: 99999999999999999999", body=b"abc"), 400),
    "TE unknown": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400),
    "TE gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400),
    "TE twice": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "TE identity": (post(b"Transfer-Encoding: identity", body=b"0\r\n\r\n"), 400),
    "space before colon": (post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), 400),
    "bad chunk size": (post(b"Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n"), 400),
    "bad chunk end": (post(b"Transfer-Encoding: chunked", body=b"3\r\nabcX0\r\n\r\n"), 400),
    # hosts
    "two Hosts": (get(b"/v1/courses", b"Host: other.example"), 400),
    "two equal Hosts": (get(b"/v1/courses", b"Host: door.example"), 400),
    "no Host": (b"GET /v1/courses HTTP/1.1\r\n\r\n", 400),
    "empty Host": (b"GET /v1/courses HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "Host with path": (b"GET /v1/courses HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "Host with user": (b"GET /v1/courses HTTP/1.1\r\nHost: u@evil\r\n\r\n", 400),
    # headers
    "obs-fold": (get(b"/v1/courses", b"X-One: a\r\n b"), 400),
    "obs-fold tab": (get(b"/v1/courses", b"X-One: a\r\n\tb"), 400),
    "underscore": (get(b"/v1/courses", b"X_User_Id: 1"), 400),
    "NUL in value": (get(b"/v1/courses", b"X-One: a\x00b"), 400),
    "bare CR in value": (get(b"/v1/courses", b"X-One: a\rb"), 400),
    "bare LF line": (b"GET /v1/courses HTTP/1.1\nHost: door.example\n\n", 400),
    "empty name": (get(b"/v1/courses", b": a"), 400),
    "name with space": (get(b"/v1/courses", b"X One: a"), 400),
    "two Authorization": (get(b"/v1/courses", b"Authorization: Bearer a", b"Authorization: Bearer b"), 400),
    "Connection names Authorization": (
        get(b"/v1/courses", b"Authorization: Basic x", b"Connection: authorization"),
        400,
    ),
    "Connection names Host": (get(b"/v1/courses", b"Connection: host"), 400),
    "too many headers": (get(b"/v1/courses", *(b"X-%d: a" % n for n in range(150))), 431),
    "too big headers": (get(b"/v1/courses", b"X-One: " + b"a" * 20_000), 431),
    "70 KB header": (get(b"/v1/courses", b"X-One: " + b"a" * 70_000), 431),
    # paths
    "encoded slash": (get(b"/v1/courses%2f..%2finternal"), 400),
    "encoded slash upper": (get(b"/v1/courses%2Fa"), 400),
    "encoded dots": (get(b"/v1/%2e%2e/internal/events"), 400),
    "encoded dots upper": (get(b"/v1/courses/%2E%2E"), 400),
    "half-encoded dots": (get(b"/v1/courses/.%2e/x"), 400),
    "dots": (get(b"/v1/courses/../internal"), 400),
    "dots at the end": (get(b"/v1/courses/.."), 400),
    "one dot": (get(b"/v1/./courses"), 400),
    "two slashes": (get(b"//internal/events"), 400),
    "two slashes within": (get(b"/v1//courses"), 400),
    "semicolon": (get(b"/v1/courses;a=b"), 400),
    "encoded semicolon": (get(b"/v1/courses%3Ba"), 400),
    "backslash": (get(b"/v1\\courses"), 400),
    "encoded backslash": (get(b"/v1/courses%5c.."), 400),
    "encoded NUL": (get(b"/v1/courses%00"), 400),
    "encoded newline": (get(b"/v1/courses%0d%0aX-Evil:1"), 400),
    "double encoding": (get(b"/v1/courses/%252e%252e"), 400),
    "overlong UTF-8": (get(b"/v1/courses/%c0%af"), 400),
    "bad escape": (get(b"/v1/courses/%zz"), 400),
    "raw UTF-8": (get("/v1/courses/é".encode()), 400),
    "quote": (get(b'/v1/courses/"'), 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "long URL": (get(b"/v1/courses?" + b"a" * 9_000), 414),
    "endless URL": (b"GET /v1/courses?" + b"a" * 60_000, 414),
    # the protocol
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "unknown method": (b"BREW /v1/courses HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT internal:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "absolute form, internal": (b"GET http://evil/internal/events HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "TRACE": (b"TRACE /v1/courses HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    # what is not offered
    "unknown path": (get(b"/nowhere"), 404),
    "internal": (get(b"/internal/events"), 404),
    "metrics": (get(b"/metrics"), 404),
    "prefix is whole segments": (get(b"/v1/coursesx"), 404),
    "case": (get(b"/V1/courses"), 404),
    "method": (b"PATCH /v1/courses HTTP/1.1\r\n" + HOST + b"\r\n", 405),
}


@pytest.fixture(scope="module")
async def door():
    async with front_door() as door:
        yield door


@pytest.mark.parametrize("name", REFUSED)
async def test_is_refused_and_reaches_nobody(door, name):
    raw, status = REFUSED[name]
    answer = await door.send(raw)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"application/problem+json" in answer
    assert b'"code":"' in answer
    readable = {404: b"vary: Origin", 405: b"vary: Origin"}.get(status, b"access-control-allow-origin: *")
    assert b"\r\n" + readable + b"\r\n" in answer, "a page sees an opaque error"
    assert door.service.seen == []


@pytest.mark.parametrize("name", REFUSED)
async def test_a_page_reads_the_refusal(named_origin, name):
    raw, status = REFUSED[name]
    line, end, rest = raw.partition(b"\r\n")
    answer = await named_origin.send(line + end + b"Origin: https://app.example\r\n" + rest if end else raw)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    allowed = Answer(answer).headers["access-control-allow-origin"]
    assert allowed == ("https://app.example" if status in {404, 405} else "*")


@pytest.fixture(scope="module")
async def named_origin():
    async with front_door(origins=["https://app.example"]) as door:
        yield door


@pytest.mark.parametrize("path", ["//v1/courses", "/v1//courses", "/v1/courses?" + "a" * 9_000])
async def test_a_page_is_let_through_to_the_refusal_of_a_malformed_address(named_origin, path):
    asked = "Origin: https://app.example", "Access-Control-Request-Method: GET"
    preflight = await named_origin.get(path, *asked, method="OPTIONS")
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "https://app.example")
    refused = await named_origin.get(path, asked[0])
    assert refused.status in {400, 414}
    assert refused.headers["access-control-allow-origin"] == "*"
    stranger = await named_origin.get(path, "Origin: https://evil.example", asked[1], method="OPTIONS")
    assert stranger.status == refused.status


@pytest.mark.parametrize(
    "raw",
    [
        post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + get(b"/v1/courses/smuggled")),
        post(b"Transfer-Encoding: chunked", body=b"3\r\nabcX0\r\n\r\n" + get(b"/v1/courses/smuggled")),
        post(b"Content-Length: 3, 5", body=b"abc" + get(b"/v1/courses/smuggled")),
    ],
)
async def test_what_follows_a_malformed_request_is_not_read_as_the_next_one(door, raw):
    answer = await door.send(raw)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"connection: close" in answer
    assert door.service.seen == []


async def test_a_token_of_a_megabyte_is_cut_off(door):
    answer = await door.send(get(b"/v1/courses", b"Authorization: Bearer " + b"a" * 1_000_000))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")  # the reset may overtake the answer
    assert door.service.seen == []


async def test_absolute_form_is_routed_by_its_path_alone():
    async with front_door() as door:
        answer = await door.send(b"GET http://evil.example/v1/courses HTTP/1.1\r\n" + HOST + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert door.service.seen[0].line == b"GET /v1/courses HTTP/1.1"
        assert door.service.seen[0].headers["x-forwarded-host"] == ["door.example"]


async def test_405_names_what_is_offered(door):
    answer = await door.get("/v1/courses", method="PATCH")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"


async def test_a_trailer_does_not_become_a_header():
    async with front_door() as door:
        await door.send(
            post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nX-Late: 1\r\n\r\n")
        )
        seen = door.service.seen[0]
        assert seen.body == b"abc"
        assert "authorization" not in seen.headers
        assert "x-late" not in seen.headers


async def test_a_websocket_offer_is_not_taken_up():
    async with front_door() as door:
        answer = await door.get(
            "/v1/courses",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: x",
            "Sec-WebSocket-Version: 13",
        )
        assert answer.status == 200
        assert "upgrade" not in door.service.seen[0].headers
        assert "connection" not in door.service.seen[0].headers


H2C = b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk"
WEBSOCKET = b"Upgrade: websocket", b"Connection: keep-alive, Upgrade", b"Sec-WebSocket-Key: x"
INNER = get(b"/v1/courses/smuggled")
CHUNKS = b"5\r\nhello\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)
BODIES = {
    "none": ((), b"", b""),
    "sized": ((b"Content-Length: %d" % len(INNER),), INNER, INNER),
    "chunked": ((b"Transfer-Encoding: chunked",), CHUNKS, b"hello" + INNER),
}


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("cut", ["nowhere", "after the head", "in the body", "everywhere"])
async def test_a_request_that_offers_another_protocol_keeps_its_body_and_what_follows_it(offer, body, cut):
    framing, sent, wanted = BODIES[body]
    first = post(*offer, *framing, body=sent)
    raw = first + post(*framing, *offer, body=sent) + get(b"/v1/courses/last", b"Connection: close")
    head = first.index(b"\r\n\r\n") + 4
    cuts = {
        "nowhere": [],
        "after the head": [head],
        "in the body": [head, head + len(sent) // 2],
        "everywhere": list(range(7, len(raw), 7)),
    }[cut]
    async with front_door() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        for start, end in itertools.pairwise([0, *cuts, len(raw)]):
            writer.write(raw[start:end])
            await asyncio.sleep(0.02 if len(cuts) < 3 else 0.001)
        async with asyncio.timeout(10):
            answers = await reader.read()
        writer.close()
        assert answers.count(b"HTTP/1.1 200 ") == answers.count(OK[-11:]) == 3, answers
        seen = [(seen.line.split(b" ")[1], seen.body) for seen in door.service.seen]
        assert seen == [(b"/v1/courses", wanted)] * 2 + [(b"/v1/courses/last", b"")]


@pytest.mark.parametrize(
    "raw",
    [
        post(b"Content-Length: 3, 5", body=b"abcde"),
        get(b"/v1/courses;a=b"),
        b"GET /v1/courses?" + b"a" * 60_000,
        get(b"/v1/courses?" + b"a" * 9_000),
        get(b"/v1/courses", b"X-One: " + b"a" * 70_000),
        b"GET /v1/courses HTTP/1.1\r\nHost: a\r\nX-Slow: ",
    ],
    ids=["400", "400, readable", "414", "414, readable", "431", "408"],
)
async def test_what_is_refused_before_it_is_a_request_is_answered_like_any_other(door, raw):
    answer = Answer(await door.send(raw))
    assert answer.json()["request_id"] == answer.headers["x-request-id"] != ""
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["date"].endswith(" GMT")
    assert answer.headers["cache-control"] == "no-store"
