"""What no column holds, and cursors of nobody's making, sent everywhere a request may hold text or numbers: refused,
never a 500."""

import base64
import dataclasses
import json
import re
from urllib.parse import urlencode

import pytest

from embedded.services import NAMES, build, nowhere
from shared.ids import new_id
from shared.testing.services import under_test

NUL, HALF = "a\0b", "a\ud800b"
CURSORS = [
    {"after": [{"id": 5}]},
    {"after": []},
    {"after": {"id": 5}},
    {"after": [{"at": 5}]},
    {"after": [{"at": "0001-01-01T00:00:00+23:59"}, {"id": "0193a1c0-0000-7000-8000-000000000000"}]},
    {"after": ["a\0b", {"id": "0193a1c0-0000-7000-8000-000000000000"}]},
    {"after": ["a\0b"]},
    {"after": ["a\ud800b"]},
    {"after": [10**30]},
    {"after": [float("nan"), {"id": "0193a1c0-0000-7000-8000-000000000000"}]},
    {"after": [None, None]},
    [],
    [[{"id": 5}]],
    "after",
    7,
    None,
]
NOT_FINITE = ("NaN", "Infinity", "-Infinity", "1e999", "-1E+0400 ", "9" * 310 + ".5", "10." + "0" * 300 + "e308")
ENCODED = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in CURSORS] + [
    base64.urlsafe_b64encode(b"[" * 700).decode(),
    base64.urlsafe_b64encode(b'{"after":["\xed\xa0\x80"]}').decode(),
    base64.urlsafe_b64encode(b'{"after":["\xff"]}').decode(),
    "%00",
    "\u00e9",
    "=",
]


@pytest.fixture(params=NAMES)
async def tested(request, make_database):
    name = request.param
    deployment = nowhere()

    def built(url):
        deployment.databases[name] = url
        service = build(name, deployment)  # the gateway's own API, by tokens of ours
        return dataclasses.replace(service, verifier=None, wrap=None) if name == "gateway" else service

    async with under_test(built, make_database, f"bytes_{new_id().hex[-12:]}") as service:
        yield service


async def test_no_text_makes_any_operation_fail(tested):
    document = tested.process.api.openapi()
    failures = []
    async with tested.rolled_back():
        for path, item in document["paths"].items():
            for method, operation in item.items():
                rule = tested.service.access[operation["operationId"]]
                for what, asked in _requests(document, path, operation):
                    failures += await _failures(tested, rule, method, asked, f"{method} {path}: {what}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("query", ["types=%00", "types=a&reader=%00", "key=%00"])
async def test_no_route_is_given_an_address_that_no_column_holds(tested, query):
    """Those between the services, of health and of the document, too, of which the document says nothing."""
    secret = tested.service.settings.feed_secret.get_secret_value()
    routes = [(route.path, method) for route in tested.process.api.routes for method in route.methods or ()]
    assert {"/internal/events", "/internal/registers/{name}", "/metrics", "/openapi.json"} <= {
        path for path, _ in routes
    }
    taken = []
    async with tested.client() as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        for path, method in routes:
            concrete = re.sub(r"\{[^}]+\}", str(new_id()), path)
            for url in (
                f"{concrete}?{query}",
                re.sub(r"\{[^}]+\}", "a%00b", path) if "{" in path else f"{concrete}%00",
            ):
                answer = await client.request(method, url)
                if answer.status_code != 422 or (method != "HEAD" and answer.json()["code"] != "invalid_request"):
                    taken.append(f"{method} {url}: {answer.status_code} {answer.text:.200}")
    assert not taken, "\n".join(taken)


async def test_no_operation_takes_a_number_that_is_not_finite(tested):
    document = tested.process.api.openapi()
    wrong = []
    async with tested.rolled_back():
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if [*operation.get("requestBody", {}).get("content", {})] != ["application/json"]:
                    continue  # credentials to verify: the badge library reads them itself (test_verification_api.py)
                rule = tested.service.access[operation["operationId"]]
                headers = {"Content-Type": "application/json"}
                for number in NOT_FINITE:
                    for body in (f'{{"a": {{"b": [0.5, {number}]}}}}', number):
                        asked = {"url": re.sub(r"\{[^}]+\}", str(new_id()), path), "headers": headers, "content": body}
                        answer = await _answer(tested, rule, method, asked)
                        if (answer.status_code, answer.json().get("detail")) != (
                            422,
                            "the request holds what is no number",
                        ):
                            wrong.append(f"{method} {path} {body:.40}: {answer.text:.200}")
    assert not wrong, "\n".join(wrong)


async def _answer(tested, rule, method, asked):
    people = {"id": new_id()} if rule.owners | rule.staff else {}
    partner = {"client_id": "partner", "scopes": tuple(rule.scopes)} if rule.scopes and not people else {}
    async with tested.client(*rule.owners, *rule.staff, **people, **partner) as client:
        return await client.request(method, **asked)


async def _failures(tested, rule, method, asked, what):
    try:
        answer = await _answer(tested, rule, method, asked)
    except Exception as error:  # noqa: BLE001 - what the service did not answer is what is looked for
        return [f"{what}: {error!r:.200}"]
    if not 400 <= answer.status_code < 500 or answer.status_code in {401, 403}:
        return [f"{what}: {answer.status_code} {answer.text:.200}"]
    return []


def _requests(document, path, operation):
    """Each request has one fault; where it is, and the request."""
    sound = {"url": re.sub(r"\{[^}]+\}", str(new_id()), path)}
    parameters = operation.get("parameters", ())
    for parameter in re.findall(r"\{[^}]+\}", path):
        concrete = re.sub(r"\{[^}]+\}", str(new_id()), path.replace(parameter, "a%00b"))
        yield f"{parameter} with NUL", {"url": concrete}
    for name in [one["name"] for one in parameters if one["in"] == "query"] + ["nothing"]:
        yield f"{name} with NUL", {"url": f"{sound['url']}?{urlencode({name: NUL})}"}
    if any(one["name"] == "cursor" for one in parameters):
        for cursor in ENCODED:
            yield f"cursor {cursor}", {"url": f"{sound['url']}?cursor={cursor}"}
    content = operation.get("requestBody", {}).get("content", {})
    if json_body := content.get("application/json"):
        for what, body in _json_bodies(document, json_body["schema"]):
            yield what, {**sound, "headers": {"Content-Type": "application/json"}, "content": body}
    if form := content.get("application/x-www-form-urlencoded"):
        schema = form["schema"]
        fields = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        for what, headers, body in _forms(fields):
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            yield what, {**sound, "headers": kind | headers, "content": body}


def _json_bodies(document, schema):
    whole = sample(document, schema)
    for bad in (NUL, HALF):
        for at, body in _spoilt(whole, bad):
            yield f"{at} with {bad!r}", json.dumps(body)
    for raw in (b'{"a":"\xed\xa0\x80"}', b'{"\xff":1}', '{"a":"b"}'.encode("utf-16"), b"[" * 5000, b'{"a\\u0000":1}'):
        yield f"the bytes {raw[:20]!r}", raw


def _forms(schema):
    fields = dict.fromkeys(schema["properties"], "a") | {"grant_type": "client_credentials"}
    for name in fields:
        yield f"{name} with NUL", {}, urlencode(fields | {name: NUL})
    basic = {"Authorization": "Basic " + base64.b64encode(b"a\0b:c%00").decode()}
    yield "HTTP Basic with NUL", basic, "grant_type=client_credentials&pin=a"


def sample(document, schema):
    """Something that fits a JSON schema as far as its shape goes."""
    if "$ref" in schema:
        return sample(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if given := schema.get("examples") or schema.get("enum"):
        return given[0]
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return sample(document, several[0])
    match schema.get("type"):
        case "object":
            made = {name: sample(document, inner) for name, inner in schema.get("properties", {}).items()}
            return made or ({"a": "b"} if "additionalProperties" in schema else {})
        case "array":
            return [sample(document, schema.get("items", {}))]
        case "integer" | "number" | "boolean" | "null" as kind:
            return {"integer": 1, "number": 1, "boolean": True, "null": None}[kind]
    return str(new_id()) if schema.get("format") == "uuid" else "abcd"


def _spoilt(value, bad, at="/body"):
    """The value with one text (or one name) of it spoilt, for each there is."""
    if isinstance(value, str):
        yield at, bad
    elif isinstance(value, dict):
        for name, inner in value.items():
            for where, spoilt in _spoilt(inner, bad, f"{at}/{name}"):
                yield where, value | {name: spoilt}
        yield f"{at}/(a name)", value | {bad: 1}
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            for where, spoilt in _spoilt(inner, bad, f"{at}/{number}"):
                yield where, [*value[:number], spoilt, *value[number + 1 :]]
