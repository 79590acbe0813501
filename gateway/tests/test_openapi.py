"""One document of all services, and its page."""

import asyncio
import copy
import threading

import httpx
import orjson
import pytest
from openapi_spec_validator import validate
from pydantic import ValidationError

from gateway.app import build
from gateway.documents.openapi import Library, merge
from gateway.edge.routes import OWN, load
from gateway.settings import Settings
from shared.process import Process
from shared.service import operations

from .proxy_harness import WRAPPING_KEY, gateway_settings
from .service_documents import ROUTES, document, merged


def test_the_merged_document_is_the_union_of_the_services():
    whole = merged(
        document("/v1/accounts", operation_id="read_account"),
        {"catalogue": document("/v1/courses", operation_id="list_courses")},
    )
    assert set(whole["paths"]) == {"/v1/accounts", "/v1/courses"}
    assert set(whole["components"]["schemas"]) == {"Thing", "Box"}
    assert whole["servers"] == [{"url": "https://api.example"}]
    shown = whole["paths"]["/v1/courses"]["get"]
    assert shown["x-service"] == "catalogue"
    assert shown["responses"]["200"]["content"]["application/json"]["example"] == {"name": "a"}


def test_what_a_service_posts_to_others_is_documented():
    documented = document("/v1/courses", operation_id="list_courses")
    message = {"post": {"operationId": "notify", "responses": {"200": {"description": "Taken"}}}}
    whole = merged(
        document("/v1/accounts", operation_id="read_account"), {"catalogue": {**documented, "webhooks": {"m": message}}}
    )
    assert whole["webhooks"] == {"m": message}


@pytest.mark.parametrize("first", [True, False])
def test_components_that_differ_keep_apart_in_both_whichever_comes_first(first):
    other = {"type": "object", "properties": {"price": {"type": "integer"}}}
    plain = document("/v1/courses", operation_id="list_courses", schema=None if first else other)
    priced = document("/v1/orders", operation_id="list_orders", schema=other if first else None)
    whole = merged({**plain, "paths": {}, "components": {}}, {"catalogue": plain, "payments": priced})
    schemas = whole["components"]["schemas"]
    assert set(schemas) == {"CatalogueThing", "CatalogueBox", "PaymentsThing", "PaymentsBox"}
    assert schemas["PaymentsThing" if first else "CatalogueThing"] == {
        **other,
        "title": "PaymentsThing" if first else "CatalogueThing",
    }
    assert schemas["PaymentsBox"]["items"] == {"$ref": "#/components/schemas/PaymentsThing"}
    assert schemas["CatalogueBox"]["items"] == {"$ref": "#/components/schemas/CatalogueThing"}
    for path, name in (("/v1/orders", "PaymentsThing"), ("/v1/courses", "CatalogueThing")):
        content = whole["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        assert content["schema"] == {"$ref": f"#/components/schemas/{name}"}


def test_operations_are_named_once():
    whole = merged(document("/v1/accounts"), {"catalogue": document("/v1/courses")})
    names = [operation["operationId"] for item in whole["paths"].values() for operation in item.values()]
    assert sorted(names) == ["catalogue_list_things", "list_things"]


def test_what_the_front_door_denies_is_not_shown():
    whole = merged(
        document("/v1/accounts", operation_id="read_account"),
        {
            "catalogue": document("/internal/events", operation_id="read_feed"),
            "payments": document("/v1/courses", operation_id="steal_courses"),
        },
    )
    assert set(whole["paths"]) == {"/v1/accounts"}


def test_partner_scopes_become_a_way_in_of_their_own():
    whole = merged(
        document("/v1/accounts", operation_id="read_account", scopes=[]),
        {"catalogue": document("/v1/courses", operation_id="list_courses", scopes=["transcripts:read"])},
    )
    assert whole["paths"]["/v1/accounts"]["get"]["security"] == [{"bearer": []}]
    both = whole["paths"]["/v1/courses"]["get"]["security"]
    assert both == [{"bearer": []}, {"partner": ["transcripts:read"]}]
    flows = whole["components"]["securitySchemes"]["partner"]["flows"]
    assert flows["clientCredentials"]["tokenUrl"] == "https://api.example/oauth/token"
    assert "transcripts:read" in flows["clientCredentials"]["scopes"]


async def test_a_service_that_is_away_is_named_and_its_last_known_document_used():
    up = True

    def answer(request):
        if not up:
            raise httpx.ConnectError("away")
        return httpx.Response(200, json=document("/v1/courses", operation_id="list_courses"))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        library = Library(
            lambda: document("/v1/accounts", operation_id="read_account"),
            {"catalogue": "http://catalogue:8000"},
            ROUTES,
            http,
            public_url="https://api.example",
            release="1",
        )
        first = orjson.loads(library.merged)
        assert "/v1/courses" not in first["paths"]
        assert "catalogue" in first["info"]["description"]
        await library.refresh()
        second = orjson.loads(library.merged)
        assert "/v1/courses" in second["paths"]
        assert "Not reachable" not in second["info"]["description"]
        up = False
        await library.refresh()
        third = orjson.loads(library.merged)
        assert third["paths"] == second["paths"]
        assert "catalogue" in third["info"]["description"]


def _library(http, addresses):
    own = document("/v1/accounts", operation_id="read_account")
    return Library(lambda: own, addresses, ROUTES, http, public_url="https://api.example", release="1")


async def test_it_is_merged_anew_only_where_something_changed_and_never_in_the_loop(monkeypatch):
    served = document("/v1/courses", operation_id="list_courses")
    merges = []

    def note(*given, **more):
        merges.append(threading.current_thread())
        return merge(*given, **more)

    monkeypatch.setattr("gateway.documents.openapi.merge", note)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=orjson.dumps(served)))
    async with httpx.AsyncClient(transport=transport) as http:
        library = _library(http, {"catalogue": "http://catalogue:8000"})
        for _ in range(3):
            await library.refresh()
            assert "/v1/courses" in orjson.loads(library.merged)["paths"]
        assert len(merges) == 2
        served["paths"]["/v1/courses"]["get"]["operationId"] = "find_courses"
        await library.refresh()
        assert b"find_courses" in library.merged
    assert len(merges) == 4  # each alone, whether it can be, and all
    assert threading.main_thread() not in merges


ODD = [
    orjson.dumps(one)
    for one in (
        {"paths": 5},
        {"paths": {"/v1/courses": 5}},
        {"paths": {"/v1/courses": {"get": 5}}},
        {"paths": {"/v1/courses": {"get": {"operationId": "a", "security": 5, "responses": {}}}}},
        {"paths": {"/v1/courses": {"get": {"operationId": "a", "responses": {"200": 5}}}}},
        {"paths": {"/v1/courses": {"get": {"operationId": [], "responses": {}}}}},
        {"paths": {"/v1/courses": {"get": {"operationId": "a", "responses": {}}}}, "components": {"schemas": 5}},
    )
]


async def test_what_is_no_document_leaves_the_last_known_one():
    body = orjson.dumps(document("/v1/courses", operation_id="list_courses"))
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body))) as http:
        library = _library(http, {"catalogue": "http://catalogue:8000"})
        await library.refresh()
        for body in (b"<html>", b"[]", b"{}", *ODD):  # noqa: B007 - the transport answers with it
            await library.refresh()
            whole = orjson.loads(library.merged)
            assert "/v1/courses" in whole["paths"]
            assert "Not reachable" in whole["info"]["description"]


async def test_no_answer_of_a_service_ends_the_looking(monkeypatch):
    monkeypatch.setattr("gateway.documents.openapi._UNSETTLED", 0.01)
    asked, often = [], asyncio.Event()

    def answer(request):
        asked.append(request)
        if len(asked) > 5:
            often.set()
        if len(asked) % 2:
            return httpx.Response(302, headers={"Location": "mailto:x"})
        raise ZeroDivisionError

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        looking = asyncio.create_task(_library(http, {"catalogue": "http://catalogue:8000"}).keep_fresh())
        async with asyncio.timeout(10):
            await often.wait()
        assert not looking.done()
        looking.cancel()
        await asyncio.wait([looking])


async def test_which_operation_takes_a_key_is_read_from_its_declaration():
    documented = document("/v1/courses/{course_id}/versions", "post", operation_id="publish_course")
    key = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string"}}
    documented["paths"]["/v1/courses/{course_id}/versions"]["post"]["parameters"] = [key]
    documented["paths"]["/v1/courses"] = {"post": {"operationId": "create_course", "responses": {}}}
    documented["paths"]["/v1/courses/latest/versions"] = {"post": {"operationId": "other", "responses": {}}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=documented))
    async with httpx.AsyncClient(transport=transport) as http:
        library = _library(http, {"catalogue": "http://catalogue:8000"})
        assert not library.takes_key("POST", b"/v1/courses/1/versions", "/v1/courses")  # unknown to it
        await library.refresh()
    assert library.takes_key("POST", b"/v1/courses/1/versions", "/v1/courses")
    for method, path in (
        ("GET", b"/v1/courses/1/versions"),
        ("POST", b"/v1/courses"),
        ("POST", b"/v1/courses/1/2/versions"),
        ("POST", b"/v1/courses/latest/versions"),  # two declare it, and not alike
    ):
        assert not library.takes_key(method, path, "/v1/courses"), path


async def test_the_gateways_own_part_validates_and_has_examples(service, session):
    async with service.client() as client:
        answer = await client.get("/openapi.json")
        assert answer.status_code == 200
        again = await client.get("/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    whole = answer.json()
    validate(copy.deepcopy(whole))
    assert whole["openapi"].startswith("3.1")
    assert whole["components"]["schemas"]["AccountRequest"]["properties"]["email"]["examples"]
    shown = {o["operationId"] for item in whole["paths"].values() for o in item.values()}
    assert shown == set(operations(service.process.api))


async def test_every_operation_of_the_gateway_is_routed(service):
    routes = load()
    for method, path in operations(service.process.api).values():
        assert routes.find(method, path.encode()).service == OWN


def test_every_service_of_the_routing_table_needs_an_address():
    settings = gateway_settings("postgresql+asyncpg://nobody@localhost/none", services={"catalogue": "http://c:1"})
    service = build(settings)
    with pytest.raises(ValueError, match="no address"):
        Process(service)


def test_a_routing_table_of_ones_own(tmp_path):
    table = tmp_path / "routes.json"
    table.write_text('{"routes": [{"prefix": "/v1/a", "service": "a", "methods": ["GET"]}]}')
    assert [route.prefix for route in load(table).table] == ["/v1/a"]
    table.write_text('{"routes": [{"prefix": "/v1/a", "service": "a"}, {"prefix": "/v1/a", "service": "b"}]}')
    with pytest.raises(ValueError, match="routed twice"):
        load(table)


def test_credit_is_read_from_credentials_and_revoked_at_assessment():
    routes = load()
    assert routes.find("GET", b"/v1/credits").service == "credentials"
    assert routes.find("POST", b"/v1/credits/1/revocation").service == "assessment"


@pytest.mark.parametrize(
    "given", [{"oidc_issuer": "https://a"}, {"password_sign_in": False}, {"wrapping_key": "short"}]
)
def test_half_a_setting_stops_the_start(given):
    whole = {
        "database_url": "postgresql+asyncpg://a@b/c",
        "feed_secret": "a",
        "wrapping_key": WRAPPING_KEY,
        "services": {},
    }
    Settings(**whole)
    with pytest.raises(ValidationError):
        Settings(**(whole | given))
