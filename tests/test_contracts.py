"""What must agree between the parts: who consumes what, and that every operation has its way through the gateway."""

import re
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import httpx
import pytest

from assessment.domain import regulations as assessment_regulations
from credentials.domain import regulations as credentials_regulations
from embedded.services import BEHIND_THE_GATEWAY, NAMES, build, merged_openapi, nowhere, openapi_of
from embedded.workspace import ROOT
from enrolment.domain import regulations as enrolment_regulations
from gateway.documents.openapi import rules_of
from gateway.edge.errors import NoSuchOperation
from gateway.edge.routes import load
from payments.domain import policy as payments_policy
from shared import errors
from shared.errors import DomainError
from shared.events import registry
from shared.ids import new_id
from shared.process import Process
from shared.testing.services import AUDIENCE, ISSUER, Issuer
from shared.web.openapi import errors_of, takes_key


@pytest.mark.parametrize("name", NAMES)
def test_an_event_names_exactly_its_consumers(name):
    consumed = {kind.type for kind in registry().values() if name in kind.consumers}
    assert consumed == build(name, nowhere()).inbox.types


@pytest.mark.parametrize("name", NAMES)
def test_every_event_of_the_contracts_is_announced_by_its_service(name):
    package = import_module(name)
    source = "\n".join(path.read_text() for path in _python_files(package))
    own = {kind.__name__: kind for kind in registry().values() if kind.type.startswith(f"{name}.")}
    built = {kind for kind in own if re.search(rf"\b{kind}\b", source)}
    assert built == set(own)


@pytest.mark.parametrize("name", BEHIND_THE_GATEWAY)
def test_every_operation_is_reached_through_the_gateway(name):
    routes = load()
    for path, item in openapi_of(name)["paths"].items():
        concrete = re.sub(r"\{[^}]+\}", "x", path).encode()
        for method in item:
            assert routes.find(method.upper(), concrete).service == name, f"{method} {path}"


@pytest.mark.parametrize("path", [b"/internal/events", b"/metrics", b"/health/live", b"/health/ready", b"/nowhere"])
def test_what_is_internal_is_not_reached_from_outside(path):
    routes = load()
    try:
        route = routes.find("GET", path)
    except NoSuchOperation:
        return
    assert route.service == "gateway"


@pytest.mark.parametrize("name", NAMES)
async def test_an_operation_that_keeps_no_reply_refuses_a_key(name):
    """Else whoever retries with it, a client's library or a proxy, believes in what nobody promised."""
    process, issuer = Process(build(name, nowhere())), Issuer()
    process.verifier.fetch_keys, process.verifier.issuer, process.verifier.audience = issuer.keys, ISSUER, AUDIENCE
    roles, scopes = set(), set()
    for rule in process.service.access.values():
        roles |= rule.owners | rule.staff
        scopes |= rule.scopes
    tokens = [issuer.token(*roles), issuer.token(client_id="partner", scopes=tuple(scopes))]
    transport = httpx.ASGITransport(process.api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        for path, item in process.api.openapi()["paths"].items():
            for method, operation in item.items():
                concrete, documented = re.sub(r"\{[^}]+\}", str(new_id()), path), f"{method} {path}"
                answers = [
                    await client.request(
                        method, concrete, headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k"}
                    )
                    for token in tokens
                ]
                codes = {answer.json().get("code") for answer in answers if answer.status_code == 400}
                refuses = "idempotency_key_not_taken" in codes
                assert refuses == (method != "get" and not takes_key(operation)), documented
                assert refuses == ("idempotency_key_not_taken" in errors_of(operation)), documented
    await process.http.aclose()
    await process.database.dispose()


@pytest.mark.parametrize("name", NAMES)
async def test_head_is_answered_where_get_is_and_no_path_leads_to_another_host(name):
    process, issuer = Process(build(name, nowhere())), Issuer()
    process.verifier.fetch_keys = issuer.keys
    transport = httpx.ASGITransport(process.api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        for path, item in process.api.openapi()["paths"].items():
            concrete = re.sub(r"\{[^}]+\}", str(new_id()), path)
            if "get" in item:
                head, get = await client.head(concrete), await client.get(concrete)
                assert (head.status_code, head.content) == (get.status_code, b""), path
                assert head.headers.keys() == get.headers.keys(), path
            else:
                assert (await client.head(concrete)).status_code == 405, path
            slashed = await client.get(f"{concrete}/", headers={"Host": "evil.example"})
            assert slashed.status_code == 404, path
            cut_short = path.startswith("/receipts")  # the address of a receipt: there is none there
            assert slashed.json()["code"] == ("not_found" if cut_short else "no_such_operation"), path
    await process.http.aclose()
    await process.database.dispose()


def test_operation_ids_are_unique_across_the_platform():
    seen: dict[str, str] = {}
    for name in NAMES:
        for item in openapi_of(name)["paths"].values():
            for operation in item.values():
                assert seen.setdefault(operation["operationId"], name) == name
                assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"])


def test_every_service_knows_every_version_of_the_regulations():
    """A version that one of them lacks stops what is pinned to it there."""
    known = {path: {one.name for one in path.glob("*.json")} for path in ROOT.glob("services/*/*/regulations")}
    assert len(known) == len(BEHIND_THE_GATEWAY)
    assert len({frozenset(names) for names in known.values()}) == 1, known


def test_a_forecast_fails_whom_assessment_would_fail():
    """Each service ships its own part of a version of the regulations; what two of them say is one rule."""
    assert {name: one.pass_mark for name, one in credentials_regulations.versions.all.items()} == {
        name: one.marks.pass_mark for name, one in assessment_regulations.versions.all.items()
    }


def test_whatever_credit_is_revoked_for_an_award_may_be_reviewed_for():
    reasons = merged_openapi()["components"]["schemas"]["ReviewDecision"]["properties"]["reason_code"]["enum"]
    for one in assessment_regulations.versions.all.values():
        assert one.revocation_reasons <= set(reasons)


def test_an_order_can_be_paid_again_for_as_long_as_its_enrolment_waits():
    assert {name: one.repayment for name, one in payments_policy.versions.all.items()} == {
        name: one.repayment for name, one in enrolment_regulations.versions.all.items()
    }


def test_one_path_is_one_thing():
    """Two templates that differ in the names of their parameters alone are one address with two meanings."""
    templates: defaultdict[str, set[str]] = defaultdict(set)
    for name in NAMES:
        for path in openapi_of(name)["paths"]:
            templates[re.sub(r"\{[^}]+\}", "{}", path)].add(path)
    assert not [paths for paths in templates.values() if len(paths) > 1]


VAGUE = {"Code", "Kind", "Name", "Outcome", "Reason", "State", "Status", "Type"}


def test_the_names_of_schemas_are_their_own():
    """Clients' types are called by them: no module or type parameter shows in one, and none is any service's word."""
    schemas = merged_openapi()["components"]["schemas"]
    assert not {name for name in schemas if not re.fullmatch(r"(?:[A-Z][a-z0-9]+)+", name)}
    assert not {name for name in schemas if name in VAGUE or name.endswith(("Input", "Output"))}
    assert not {name: schema.get("title") for name, schema in schemas.items() if schema.get("title") != name}


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_says_what_it_is_in_more_words_than_its_name(name):
    for title, schema in openapi_of(name)["components"]["schemas"].items():
        said = set(re.findall(r"[a-z]+", schema.get("description", "").lower()))
        named = {word.lower() for word in re.findall(r"[A-Z][a-z]+", title)}
        assert len(said - named - {"a", "an", "of", "the"}) > 1, f"{title} needs a docstring"


def test_every_body_has_a_schema_and_every_object_in_one_a_name():
    """A generated client parses what has a schema, and calls a type by its name: two unnamed ones would be one type."""
    document = merged_openapi()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            answers = [documented for status, documented in operation["responses"].items() if status.startswith("2")]
            for documented in (operation.get("requestBody", {}), *answers):
                for kind, body in documented.get("content", {}).items():
                    schema, where = body.get("schema"), f"{method} {path}: {kind}"
                    assert schema or kind == "text/html", where
                    assert (schema or {}).get("type") != "object", where
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                assert {"type": "null"} not in body["schema"].get("anyOf", ()), f"{method} {path}: {kind}"


def test_what_creates_and_takes_no_key_is_named_and_answers_with_a_secret():
    document = merged_openapi()
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    keyless = {
        path: operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method == "post" and "201" in operation["responses"] and not takes_key(operation)
    }
    assert keyless
    for path, operation in keyless.items():
        [body] = operation["responses"]["201"]["content"].values()
        shown = document["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]["properties"]
        assert {"secret", "client_secret", "access_token", "url", "code"} & shown.keys(), path
        said = path.removesuffix("/secrets").partition("/{")[0].removesuffix("/outside")
        assert f"`{said}`" in readme, path
        words = said.removeprefix("/v1/").replace("webhook-", "webhook ")
        assert words in document["info"]["description"], path


def test_what_two_services_name_alike_is_the_same():
    """Else the merged document names them apart, and one service's new class changes another's type."""
    found: defaultdict[tuple[str, str], list[object]] = defaultdict(list)
    for name in NAMES:
        for kind, entries in openapi_of(name)["components"].items():
            for component, value in entries.items():
                found[kind, component].append(value)
    assert not [name for name, values in found.items() if any(value != values[0] for value in values)]


def test_a_refusal_code_is_one_rule():
    """Documented or not: a front end branches on the code, so it means one thing, with one status and one title."""
    found: defaultdict[str, set[type[DomainError]]] = defaultdict(set)
    answers: defaultdict[str, set[tuple[int, str]]] = defaultdict(set)
    for kind in _kinds_of(DomainError):
        has_code_of_its_own = kind.code not in {
            above.code for above in kind.__mro__[1:] if issubclass(above, DomainError)
        }
        answers[kind.code].add((kind.status, kind.title))
        if has_code_of_its_own and kind.__module__ != errors.__name__:
            found[kind.code].add(kind)
    assert len(found) > 200
    assert not {code: kinds for code, kinds in found.items() if len(kinds) > 1}
    assert not {code: documented for code, documented in answers.items() if len(documented) > 1}


def test_no_exception_is_called_like_an_event():
    """`OrderExpired` has happened and is announced; what refuses because of it says so in its own name."""
    events = {kind.__name__ for kind in registry().values()}
    exceptions = {kind.__name__ for kind in _kinds_of(BaseException)}
    assert len(exceptions) > 300
    assert events & exceptions == set()


def _kinds_of(base):
    """The subclasses of `base` that any module of ours defines, tests left out."""
    ours = ("shared", *NAMES)
    for name in ours:
        for module in walk_packages(import_module(name).__path__, f"{name}."):
            if not module.name.endswith("__main__") and not {"migrations", "tests"} & {*module.name.split(".")}:
                import_module(module.name)
    found, waiting = set(), [base]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind not in found:
                found.add(kind)
                waiting.append(kind)
    return {kind for kind in found if kind.__module__.split(".")[0] in ours and ".tests." not in kind.__module__}


def test_the_merged_document_gives_a_code_one_status_and_one_meaning():
    documented = rules_of(merged_openapi())
    assert not {code: rules for code, rules in documented.items() if len(rules) > 1}


@pytest.mark.parametrize("name", NAMES)
def test_every_whole_number_in_a_request_has_a_bound(name):
    """Else one that no column holds is our failure, where it should be a refusal."""
    document = openapi_of(name)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            asked = {parameter["name"]: parameter["schema"] for parameter in operation.get("parameters", ())}
            content = operation.get("requestBody", {}).get("content", {})
            asked |= {kind: body["schema"] for kind, body in content.items() if "schema" in body}
            assert not _boundless(document, asked, frozenset()), f"{method} {path}"


NAMED_ALIKE = {
    "description": "of a course or subject, or of one criterion",
    "institution": "a name where we know it not, a slug where we do",
    "reason": "of a decision, of one line of it, or why a key is given up",
    "subject": "a slug in the catalogue, a name in a forecast",
    "text": "of an outcome or of a study unit",
    "title": "of what is taught, of a brief, or of an award, which names several subjects",
    "url": "of a skill in its framework, or where webhooks go",
    "version": "of a declaration or of the regulations",
    "name": "of one thing, or as it is printed: given and family name",
}
"""What is asked for under one name and is not one thing; whatever else has one name has one limit."""


def test_a_text_that_one_operation_takes_is_no_longer_than_the_next_one_takes():
    """Else somebody is registered with a name with which nobody can buy."""
    document = merged_openapi()
    found: defaultdict[str, set[int]] = defaultdict(set)
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                _lengths(document, parameter["name"], parameter["schema"], found, frozenset())
            for body in operation.get("requestBody", {}).get("content", {}).values():
                _lengths(document, "", body.get("schema"), found, frozenset())
    assert found["family_name"]
    assert {name: lengths for name, lengths in found.items() if len(lengths) > 1}.keys() == NAMED_ALIKE.keys()


def _lengths(document, name, schema, found, above):
    """Add the longest text of each member of a schema to `found`, by the member's name."""
    if isinstance(schema, list):
        for one in schema:
            _lengths(document, name, one, found, above)
    if not isinstance(schema, dict):
        return
    if "$ref" in schema and schema["$ref"] not in above:
        kind = schema["$ref"].rpartition("/")[2]
        _lengths(document, name, document["components"]["schemas"][kind], found, above | {schema["$ref"]})
    if "maxLength" in schema:
        found[name].add(schema["maxLength"])
    for member, inner in schema.get("properties", {}).items():
        _lengths(document, member, inner, found, above)
    for inner in ("items", "anyOf", "oneOf", "allOf"):
        _lengths(document, name, schema.get(inner), found, above)


def test_the_longest_names_together_are_as_long_as_what_is_made_of_them():
    """A title is claimed, and a person's whole name sent back, just as we wrote them."""
    schemas = merged_openapi()["components"]["schemas"]

    def longest(kind, member):
        schema = schemas[kind]["properties"][member]
        return next(one["maxLength"] for one in (schema, *schema.get("anyOf", ())) if "maxLength" in one)

    subject = longest("SubjectRequest", "award_name")
    titles = [
        rule.template.format(*("x" * subject for _ in range(rule.named)), label=level.label, credits=level.credits)
        for one in credentials_regulations.versions.all.values()
        for rule in one.title_rules
        for level in one.levels
    ]
    assert max(map(len, titles)) <= longest("ClaimRequest", "title")
    whole = longest("ShortForm", "given_name") + 1 + longest("ShortForm", "family_name")
    for kind in ("ShortForm", "Particulars"):
        assert (longest(kind, "display_name"), longest(kind, "certificate_name")) == (whole, whole)
    assert longest("NewNameRequest", "certificate_name") == whole <= longest("PrintedOnDocument", "name")


def _boundless(document, schema, above):
    """Where in a schema a whole number is without its largest."""
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [] if name in above else _boundless(document, document["components"]["schemas"][name], above | {name})
    if schema.get("type") == "integer":
        return [] if {"maximum", "exclusiveMaximum", "enum", "const"} & schema.keys() else [schema]
    inner = [one for value in schema.values() for one in (value if isinstance(value, list) else [value])]
    return [found for one in inner for found in _boundless(document, one, above)]


def _python_files(package):
    return Path(package.__file__).parent.rglob("*.py")


def test_every_code_that_the_document_names_has_a_page():
    """Wherever it is named: an answer that is a page alone has no examples of problem documents."""
    document = merged_openapi()
    named = {
        (operation["operationId"], code)
        for item in document["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if status.startswith(("4", "5"))
        for code in re.findall(r"`(\w+)`", response["description"])
    }
    assert ("check_upload", "not_form") in named
    known = rules_of(document)
    assert {one for one in named if one[1] not in known} == set()
