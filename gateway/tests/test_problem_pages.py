"""Pages for people: the front page, and a page for each problem code."""

import re

import orjson
import pytest

from gateway.documents.front_page import front_document, front_page
from gateway.documents.openapi import Rule, rules_of
from gateway.documents.problem_pages import index_page, problem_page
from shared.access import InvalidToken
from shared.errors import Conflict, NotFound
from shared.web import error_responses
from shared.web.openapi import errors_of

from .service_documents import document, merged


async def test_the_page_needs_no_outside_host(service, session):
    async with service.client() as client:
        page = await client.get("/docs")
        assert page.status_code == 200
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
            assert f"/docs/{asset}" in page.text + "/docs/start.js"
            assert (await client.get(f"/docs/{asset}")).status_code == 200
        assert (await client.get("/docs/nothing")).json()["code"] == "no_such_operation"


async def test_every_refusal_has_a_page(service, session):
    async with service.client() as client:
        whole = (await client.get("/openapi.json")).json()
        codes = {code for item in whole["paths"].values() for one in item.values() for code in errors_of(one)}
        assert "wrong_credentials" in codes
        for code in codes | {"rate_limited", "no_such_operation", "service_unreachable"}:
            page = await client.get(f"/problems/{code}")
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), code
            assert f"<h1><code>{code}</code></h1>" in page.text
            assert "<script" not in page.text


async def test_the_type_of_a_refusal_leads_to_its_page(service, session):
    async with service.client() as client:
        refused = await client.get("/v1/accounts/me")
        page = await client.get(refused.json()["type"])
        again = await client.get(refused.json()["type"], headers={"If-None-Match": page.headers["etag"]})
    assert "401 Authentication required</p>" in page.text
    assert "POST /v1/sign-ins" in page.text  # what to do
    assert f"<p>{InvalidToken.__doc__}</p>" in page.text
    assert "<code>read_own_account</code>" in page.text
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/problems/nothing", "/problems/rate_limited/more"])
async def test_what_nobody_refuses_with_has_no_page(service, session, path):
    async with service.client() as client:
        answer = await client.get(path)
        written = await client.post("/problems/rate_limited")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_operation")
    assert (written.status_code, written.json()["code"]) == (405, "method_not_allowed")


async def test_a_browser_that_goes_astray_is_answered_with_a_page(service, session):
    like_a_browser = {"Accept": "text/html,*/*;q=0.8"}
    async with service.client() as client:
        for path in ("/problems/nothing", "/docs/nothing"):
            astray = await client.get(path, headers=like_a_browser)
            assert (astray.status_code, astray.headers["content-type"]) == (404, "text/html; charset=utf-8"), path
            assert 'href="/problems"' in astray.text
            assert "Accept" in astray.headers["vary"]
            again = await client.get(path, headers={**like_a_browser, "If-None-Match": astray.headers["etag"]})
            assert again.status_code == 404
        for path in ("/docs/", "/problems/", "/problems/rate_limited/"):
            found = await client.get(path, headers=like_a_browser)
            assert (found.status_code, found.text) == (200, (await client.get(path.rstrip("/"))).text)


async def test_the_index_of_refusals_leads_to_each_of_them(service, session):
    async with service.client() as client:
        index = await client.get("/problems")
        codes = set(re.findall(r'href="/problems/(\w+)"', index.text))
        assert {"wrong_credentials", "rate_limited", "invalid_request"} <= codes
        for code in codes:
            assert (await client.get(f"/problems/{code}")).status_code == 200
    assert "<script" not in index.text
    assert "default-src 'none'" in index.headers["content-security-policy"]


def test_names_in_a_refusals_words_are_shown_as_code_and_markup_as_text():
    documented = {Rule(409, "Conflict", "Call `place_order` <b>first</b>."): {f"do_{n}": "orders" for n in range(20)}}
    page = problem_page("a_code", documented, "help@example.org")
    assert "Call <code>place_order</code> &lt;b&gt;first&lt;/b&gt;." in page
    assert "What to do" in page
    assert '<a href="/docs#/orders/do_7"><code>do_7</code></a>' in page
    assert "<summary>20 operations</summary>" in page
    assert "a_code" in index_page({"a_code": documented}, "help@example.org")


async def test_the_front_page_tells_a_person_and_a_program_where_to_go(service, session):
    async with service.client() as client:
        page = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        document = await client.get("/")
        back = await client.get("/?order_id=1&payment=paid", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "Accept" in page.headers["vary"]
    assert "Sample accounts" not in page.text
    assert document.headers["content-type"] == "application/json"
    assert document.json()["openapi"] == "/openapi.json"
    assert "sample_accounts" not in document.json()
    for address in document.json().values():
        assert address not in {"/docs", "/problems"} or f'href="{address}"' in page.text
    assert "If you have just paid" in back.text
    assert "something is still due" in back.text
    assert "If you have just paid" not in page.text


def test_a_sandbox_shows_its_sample_accounts():
    accounts = {"marker": "marker@platform.example"}
    assert "marker@platform.example" in front_page("help@example.org", accounts, from_payment=False)
    assert orjson.loads(front_document("1", "help@example.org", accounts))["sample_accounts"] == accounts


class _NotRegistered(Conflict):
    """Register <b>first</b>."""

    code = "not_registered"


class _UnknownLearner(NotFound):
    """Nobody here by that name."""

    code = "not_registered"


def test_a_code_that_two_releases_tell_in_two_ways_has_both_on_its_page():
    orders, courses = document("/v1/orders", operation_id="list_orders"), document("/v1/courses")
    for found, kind in ((orders, _NotRegistered), (courses, _UnknownLearner)):
        [[operation]] = [item.values() for item in found["paths"].values()]
        operation["responses"] |= {str(status): one for status, one in error_responses(kind).items()}
        found["components"]["schemas"]["Problem"] = {"type": "object"}
    documented = rules_of(
        merged(document("/v1/accounts", operation_id="a"), {"payments": orders, "catalogue": courses})
    )
    assert documented["not_registered"] == {
        Rule(404, "Not found", "Nobody here by that name."): {"list_things": "catalogue"},
        Rule(409, "Conflict with the present state", "Register <b>first</b>."): {"list_orders": "payments"},
    }
    page = problem_page("not_registered", documented["not_registered"], "help@example.org")
    assert "<p>Nobody here by that name.</p>" in page
    assert "<p>Register &lt;b&gt;first&lt;/b&gt;.</p>" in page
