"""What the proxy owes to browsers: which pages may call, and a page for whoever goes astray."""

import asyncio

import pytest

from .proxy_harness import ScriptedService, front_door

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_only_named_origins_may_call():
    async with front_door(origins=["https://app.example"]) as door:
        ask = "Access-Control-Request-Method: POST"
        good = await door.get("/v1/courses", "Origin: https://app.example", ask, method="OPTIONS")
        assert good.status == 204
        assert good.headers["access-control-allow-origin"] == "https://app.example"
        assert "POST" in good.headers["access-control-allow-methods"]
        assert good.headers["access-control-max-age"] == "7200"
        for origin in ("https://evil.example", "null", "https://app.example.evil.example", "http://app.example"):
            bad = await door.get("/v1/courses", f"Origin: {origin}", ask, method="OPTIONS")
            assert (bad.status, bad.code) == (403, "origin_not_allowed")
            assert "access-control-allow-origin" not in bad.headers
            plain = await door.get("/v1/courses", f"Origin: {origin}")
            assert "access-control-allow-origin" not in plain.headers
        allowed = await door.get("/v1/courses", "Origin: https://app.example")
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in allowed.headers
        refused = await door.get("/v1/coursesx", "Origin: https://app.example")
        assert refused.headers["access-control-allow-origin"] == "https://app.example"
        answer = await door.get("/v1/courses", method="OPTIONS")
        assert (answer.status, answer.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, POST, PUT")


async def test_a_page_that_may_call_reads_the_refusal_of_a_mistyped_path_or_method():
    async with front_door(origins=["https://app.example"]) as door:
        ours, ask = "Origin: https://app.example", "Access-Control-Request-Method: "
        for path, method, status in (("/v1/coursesx", "POST", 404), ("/v1/courses", "PATCH", 405)):
            asked = await door.get(path, ours, f"{ask}{method}", method="OPTIONS")
            assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, "https://app.example")
            assert method in asked.headers["access-control-allow-methods"].split(", ")
            refused = await door.get(path, ours, method=method)
            assert refused.status == status
            assert refused.headers["access-control-allow-origin"] == "https://app.example"
            exposed = set(refused.headers["access-control-expose-headers"].split(", "))
            assert {
                "allow",
                "content-disposition",
                "etag",
                "idempotency-replayed",
                "location",
                "retry-after",
            } <= exposed
        stranger = await door.get("/v1/coursesx", "Origin: https://evil.example", f"{ask}POST", method="OPTIONS")
        assert (stranger.status, stranger.code) == (404, "no_such_operation")
        assert (await door.get("/v1/coursesx", method="OPTIONS")).status == 404


async def test_every_page_may_read_what_an_operation_opens_to_every_origin():
    public = {("GET", b"/v1/courses"), ("POST", b"/v1/dead")}
    rates = {"anonymous": (4, 60)}
    async with front_door(origins=["https://app.example"], public=public, rates=rates) as door:
        for origin in ((), ("Origin: https://anybody.example",), ("Origin: https://app.example",)):
            open_to_all = await door.get("/v1/courses", *origin)
            assert open_to_all.headers["access-control-allow-origin"] == "*"
            assert "vary" not in open_to_all.headers
        failed = await door.get("/v1/dead", "Origin: https://anybody.example", method="POST")
        assert (failed.status, failed.headers["access-control-allow-origin"]) == (503, "*")
        limited = await door.get("/v1/courses", "Origin: https://anybody.example")
        assert (limited.status, limited.headers["access-control-allow-origin"]) == (429, "*")


async def test_a_browser_is_answered_what_a_page_of_any_origin_may_ask():
    async with front_door(origins=["https://app.example"], public={("GET", b"/v1/courses")}) as door:
        ask = "Access-Control-Request-Method: "
        anybody, ours = "Origin: https://anybody.example", "Origin: https://app.example"
        reading = await door.get("/v1/courses", anybody, f"{ask}GET", method="OPTIONS")
        assert (reading.status, reading.headers["access-control-allow-origin"]) == (204, "*")
        assert "authorization" not in reading.headers["access-control-allow-headers"]
        assert (reading.headers["vary"]) == "Origin"
        writing = await door.get("/v1/courses", anybody, f"{ask}POST", method="OPTIONS")
        assert (writing.status, writing.code, writing.headers["vary"]) == (403, "origin_not_allowed", "Origin")
        odd = await door.get("/v1/courses", anybody, f"{ask}PATCH", method="OPTIONS")
        assert (odd.status, odd.code) == (403, "origin_not_allowed")
        own = await door.get("/v1/courses", ours, f"{ask}GET", method="OPTIONS")
        assert own.headers["access-control-allow-origin"] == "https://app.example"
        assert "authorization" in own.headers["access-control-allow-headers"]


async def test_caches_are_shown_where_an_answer_differs_by_origin_whoever_asks():
    async with front_door(origins=["https://app.example"]) as door:
        for origin in ((), ("Origin: https://anybody.example",), ("Origin: https://app.example",)):
            for path in ("/v1/courses", "/v1/accounts", "/v1/dead", "/nowhere"):
                assert (await door.get(path, *origin)).headers["vary"] == "Origin", path


@pytest.mark.parametrize("origin", ["*", "null"])
def test_wild_origins_cannot_be_configured(origin):
    from gateway.edge.cors import Origins

    with pytest.raises(ValueError, match="one by one"):
        Origins([origin])


async def missing(seen, reader, writer):
    """As services answer: the head, and a moment later the body; or words of their own for people."""
    kind, body = b"application/problem+json", b'{"code":"not_found"}'
    if seen.line.startswith(b"GET /v1/courses/own"):
        kind, body = b"text/html; charset=utf-8", b"<p>No such course</p>"
    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(body)))
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.write(body)
    return True


async def test_a_person_who_opens_a_mistyped_address_is_answered_with_a_page_and_a_program_with_a_problem():
    browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
    async with front_door(ScriptedService(missing)) as door:
        for path, code, status in (
            ("/v1/coursesx", "no_such_operation", 404),
            ("/nowhere", "no_such_operation", 404),
            ("/v1/courses/", "not_found", 404),
            ("/v1/courses/x", "not_found", 404),
            ("/v1//courses", "malformed_path", 400),
        ):
            page = await door.get(path, browser)
            assert (page.status, page.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
            assert b'href="/verify"' in page.body
            assert len(page.body) == int(page.headers["content-length"])
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert b"vary: Accept\r\n" in page.raw
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["x-request-id"]
            for accept in ((), ("Accept: application/json",), ("Accept: */*",)):
                answer = await door.get(path, *accept)
                assert (answer.status, answer.code) == (status, code), path
        own = await door.get("/v1/courses/own", browser)
        assert (own.status, own.body) == (404, b"<p>No such course</p>")
        written = await door.get("/v1/coursesx", browser, method="POST")
        assert (written.status, written.code) == (404, "no_such_operation")
        head = await door.get("/v1/courses/x", browser, method="HEAD")
        assert (head.status, head.body) == (404, b"")


@pytest.mark.parametrize("accept", ["text/html,*/*;q=0.8", "*/*"])
async def test_whoever_sends_a_form_reads_a_page_where_it_is_refused(accept):
    async with front_door() as door:
        form = "Content-Type: multipart/form-data; boundary=x", f"Accept: {accept}"
        refused = await door.get("/v1/courses", *form, method="POST", body=b"a" * 1001)
        assert refused.status == 413
        kind = "text/html; charset=utf-8" if "html" in accept else "application/problem+json"
        assert refused.headers["content-type"] == kind
        if "html" in accept:
            assert b"At most 1000 bytes are taken here." in refused.raw
            assert b'href="/problems/body_too_large"' in refused.raw
