"""The OpenAPI 3.1 document of the whole platform, merged from those of the services.

Each service's own document is fetched, and its last known copy used while it is unreachable. Only what the routing
table lets through is shown, so the document never promises what the front door denies.
"""

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, NamedTuple, cast

import httpx
import orjson

from gateway.edge import errors
from gateway.edge.errors import MethodNotAllowed, NoSuchOperation
from gateway.edge.routes import OWN, Routes
from shared import liveness
from shared.outages import note_outage
from shared.peers import PeerAway, ask
from shared.web import problems
from shared.web.openapi import ANY_ORIGIN, takes_key, with_references

log = logging.getLogger(__name__)

Document = dict[str, Any]  # Any: JSON
Fetch = Callable[[str], Awaitable[Document]]

_METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_SETTLED: Final = 30.0  # seconds between refreshes once every service's document is known; until then _UNSETTLED
_UNSETTLED: Final = 2.0
_MOST_BYTES: Final = 10_000_000  # of one document
_READ_SECONDS: Final = 10.0  # for one document, however slowly it trickles in
_INTRODUCTION: Final = """One address for the whole platform. `/v1` throughout; snake_case JSON; instants in RFC 3339
and UTC; money in integer minor units. Lists give `items` and `next_cursor`; send that as `cursor` for the next page.
Every error is a problem document (RFC 9457) whose `code` never changes; the responses of an operation name them, and
`type` leads to a page about each. Operations that create something or move money take an `Idempotency-Key`; not
those whose answer holds a secret, which is shown once and never kept: sign-ins, shares, partners, webhook endpoints and
the secrets of both. After a lost answer read the list, then ask anew. Public reads have an ETag. Pages of every web
origin may read what is marked `x-any-origin`, without a token; everything else answers pages of the origins this
installation names. Allowances are in `RateLimit`; after 429 wait as long as `Retry-After` says.
What partners are notified of by webhook stands under `webhooks`."""


def merge(
    own: Document, found: Mapping[str, Document], routes: Routes, *, away: list[str], public_url: str, release: str
) -> Document:
    """Return the union of the services' documents; `away` names the services that are unreachable.

    Names are unique across one release. Where they are not, a component that services define differently gets the
    service's name before its own in each of them, an operationId in the later one.
    """
    description = _INTRODUCTION
    if away:
        names = ", ".join(sorted(away))
        description += f"\n\n**Not reachable at the moment:** {names}. What is shown of it is its last known state."
    merged: Document = {
        "openapi": "3.1.0",
        "info": {"title": "Microcredentials platform", "version": release, "description": description},
        "servers": [{"url": public_url}],
        "tags": [],
        "paths": {},
        "components": {"schemas": {}, "securitySchemes": _security(public_url)},
    }
    operation_ids: set[str] = set()
    shown = {name: _shown(document, name, routes) for name, document in [(OWN, own), *sorted(found.items())]}
    for service, document in _kept_apart(shown).items():
        _add(merged, service, document, operation_ids)
    merged["tags"] = [{"name": name} for name in sorted(_tags(merged))]
    return merged


def _security(public_url: str) -> Document:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A person's access token, from POST /v1/sign-ins",
        },
        "partner": {
            "type": "oauth2",
            "description": "A partner's access token, by client credentials",
            "flows": {"clientCredentials": {"tokenUrl": f"{public_url}/oauth/token", "scopes": {}}},
        },
    }


def _shown(document: Document, service: str, routes: Routes) -> Document:
    """Return a copy of the document with only the operations that the routing table leads to this service."""
    copy = deepcopy(document)
    paths: Document = {}
    for path, item in copy.get("paths", {}).items():
        kept = {
            name: value
            for name, value in item.items()
            if name not in _METHODS or _is_routed(routes, service, name, path)
        }
        if any(name in _METHODS for name in kept):
            paths[path] = kept
    copy["paths"] = paths
    return copy


def _is_routed(routes: Routes, service: str, method: str, path: str) -> bool:
    try:
        return routes.find(method.upper(), path.encode()).service == service
    except (NoSuchOperation, MethodNotAllowed):
        return False


def _add(merged: Document, service: str, document: Document, operation_ids: set[str]) -> None:
    for kind, entries in document.get("components", {}).items():
        if kind != "securitySchemes":
            merged["components"].setdefault(kind, {}).update(entries)
    for path, item in document["paths"].items():
        merged["paths"].setdefault(path, {}).update(item)
        for method in set(item) & set(_METHODS):
            operation = item[method]
            name = operation.get("operationId", f"{method}_{path}")
            operation["operationId"] = f"{service}_{name}" if name in operation_ids else name
            operation_ids.add(operation["operationId"])
            operation["tags"] = operation.get("tags") or [service]
            operation["x-service"] = service
            _name_scopes(merged, operation)
    if "webhooks" in document:
        merged.setdefault("webhooks", {}).update(document["webhooks"])


def _kept_apart(documents: Mapping[str, Document]) -> dict[str, Document]:
    """Return the documents with their components renamed where services define one name differently.

    That happens during an upgrade; then the service's name stands before the component's in each of them, and in the
    components that refer to it.
    """
    several: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)  # Any: JSON
    for document in documents.values():
        for kind, entries in document.get("components", {}).items():
            for name, value in entries.items():
                several[kind, name].append(value)
    shared = {
        name: _references(values[0])
        for name, values in several.items()
        if len(values) > 1 and name[0] != "securitySchemes"
    }
    differing = {name for name in shared if any(value != several[name][0] for value in several[name])}
    while leading := {
        name
        for name in shared.keys() - differing
        if shared[name] & {f"#/components/{kind}/{one}" for kind, one in differing}
    }:
        differing |= leading
    return {
        service: _renamed(document, {(kind, name): service.capitalize() + name for kind, name in differing})
        for service, document in documents.items()
    }


def _references(value: Any) -> set[str]:  # Any: JSON
    if isinstance(value, dict):
        inner = [_references(one) for one in cast("Document", value).values()]
        own = cast("Document", value).get("$ref")
        return set[str]().union(*inner) | ({own} if isinstance(own, str) else set())
    if isinstance(value, list):
        return set[str]().union(*(_references(one) for one in cast("list[Any]", value)))  # Any: JSON
    return set()


def _renamed(document: Document, names: Mapping[tuple[str, str], str]) -> Document:
    if not names:
        return document
    components = document.get("components", {})
    own = {(kind, name): new for (kind, name), new in names.items() if name in components.get(kind, {})}
    addresses = {f"#/components/{kind}/{name}": f"#/components/{kind}/{new}" for (kind, name), new in own.items()}
    document = with_references(document, addresses)
    for kind, entries in document["components"].items():
        for name in [one for one in entries if (kind, one) in own]:
            new = own[kind, name]
            entries[new] = entries.pop(name)
            if kind == "schemas":
                entries[new] = {**entries[new], "title": new}
    return document


def _name_scopes(merged: Document, operation: Document) -> None:
    """Rewrite a service's `bearer: [scopes]` as two schemes: people's tokens, and partners' with those scopes."""
    asked: list[Document] = operation.get("security") or []
    ways: list[Document] = []
    for requirement in asked:
        scopes: list[str] = requirement.get("bearer", [])
        ways.append({"bearer": []})
        if scopes:
            ways.append({"partner": scopes})
            known = merged["components"]["securitySchemes"]["partner"]["flows"]["clientCredentials"]["scopes"]
            known.update({scope: scope.replace(":", ", ") for scope in scopes})
    if ways:
        operation["security"] = ways


def _tags(merged: Document) -> set[str]:
    return {
        tag
        for item in merged["paths"].values()
        for name, operation in item.items()
        if name in _METHODS
        for tag in operation.get("tags", [])
    }


class Rule(NamedTuple):
    """The meaning of a problem code; services of two releases may document one code in two ways."""

    status: int
    title: str
    meaning: str
    remedy: str = ""
    """What to do about it; empty where the status says enough."""


Rules = Mapping[str, Mapping[Rule, Mapping[str, str]]]
"""By problem code, its meanings, each with the operations that document it and their tags; with no operations where any
may answer with it."""


def rules_of(document: Document) -> Rules:
    """Return every problem code that the merged document documents, and the front door's own."""
    found: defaultdict[str, defaultdict[Rule, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for example in _examples(problems.error_responses(*errors.kinds())):
        found[example["value"]["code"]][_rule(example)] = {}
    known = document["components"].get("examples", {})
    for item in document["paths"].values():
        for method in set(item) & set(_METHODS):
            for example in _examples(item[method]["responses"], known):
                operation = item[method]
                found[example["value"]["code"]][_rule(example)][operation["operationId"]] = operation["tags"][0]
    return found


def _examples(responses: Mapping[Any, Document], known: Mapping[str, Document] | None = None) -> Iterator[Document]:
    for response in responses.values():
        for example in response.get("content", {}).get(problems.MEDIA_TYPE, {}).get("examples", {}).values():
            yield (known or {})[example["$ref"].rpartition("/")[2]] if "$ref" in example else example


def _rule(example: Document) -> Rule:
    documented = example["value"]
    return Rule(documented["status"], documented["title"], documented["detail"], example.get(problems.REMEDY, ""))


class _Declared(NamedTuple):
    """What an operation declares in its document that the front door acts on."""

    method: str
    paths: re.Pattern[bytes]
    takes_key: bool
    any_origin: bool


def declared(document: Document, routes: Routes) -> Mapping[str, list[_Declared]]:
    """Return every operation of the merged document, by the prefix it is routed by."""
    found: defaultdict[str, list[_Declared]] = defaultdict(list)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                paths = re.compile(_PARAMETER.sub("[^/]+", re.escape(path)).encode())
                one = _Declared(method.upper(), paths, takes_key(operation), operation.get(ANY_ORIGIN, False))
                found[routes.find(method.upper(), path.encode()).prefix].append(one)
    return found


_PARAMETER: Final = re.compile(r"\\\{[^}]+\\\}")


class _Made(NamedTuple):
    json: bytes
    rules: Rules
    operations: Mapping[str, list[_Declared]]


class Library:
    """The services' documents as last fetched, and the merged one, ready as bytes."""

    def __init__(
        self,
        own: Callable[[], Document],
        addresses: Mapping[str, str],
        routes: Routes,
        http: httpx.AsyncClient,
        *,
        public_url: str,
        release: str,
    ) -> None:
        self._own = own
        self._addresses = dict(addresses)
        self._routes = routes
        self._http = http
        self._public_url = public_url
        self._release = release
        self._latest: dict[str, bytes] = {}
        self._found: dict[str, Document] = {}
        self._away: list[str] = sorted(addresses)
        self._made: _Made | None = None

    @property
    def merged(self) -> bytes:
        """The merged document as JSON."""
        return self._present().json

    @property
    def rules(self) -> Rules:
        return self._present().rules

    def takes_key(self, method: str, path: bytes, prefix: str) -> bool:
        """Whether the operation declares an Idempotency-Key; False where its document was never fetched."""
        found = self._declared(method, path, prefix)
        return bool(found) and all(one.takes_key for one in found)

    def any_origin(self, method: str, path: bytes, prefix: str) -> bool:
        """Whether pages of every origin may read the operation's answers; False where it was never fetched."""
        found = self._declared("GET" if method == "HEAD" else method, path, prefix)
        return bool(found) and all(one.any_origin for one in found)

    def _declared(self, method: str, path: bytes, prefix: str) -> list[_Declared]:
        return [
            one
            for one in self._present().operations.get(prefix, ())
            if one.method == method and one.paths.fullmatch(path) is not None
        ]

    def _present(self) -> _Made:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> _Made:
        return self._make_of(self._found)

    def _make_of(self, found: Mapping[str, Document]) -> _Made:
        document = merge(
            self._own(), found, self._routes, away=self._away, public_url=self._public_url, release=self._release
        )
        return _Made(
            orjson.dumps(document, option=orjson.OPT_INDENT_2), rules_of(document), declared(document, self._routes)
        )

    async def refresh(self) -> None:
        """Fetch every service's document and, where one has changed, merge all anew, in a thread: it takes 0.1 s."""
        names = sorted(self._addresses)
        answers = dict(zip(names, await asyncio.gather(*(self._fetch(name) for name in names)), strict=True))
        changed = {name: body for name, body in answers.items() if body is not None and body != self._latest.get(name)}
        found: dict[str, Document] = {}
        for name, body in changed.items():
            document = await asyncio.to_thread(self._read, name, body)
            if document is None:
                answers[name] = None
            else:
                found[name] = document
                self._latest[name] = body
        away = [name for name, body in answers.items() if body is None]
        if found or away != self._away or self._made is None:
            self._away = away
            self._found = self._found | found
            self._made = await asyncio.to_thread(self._make)

    async def keep_fresh(self) -> None:
        """Refresh for ever: every 2 s until every service's document has been fetched once, then every 30 s."""
        while True:
            liveness.beat(_SETTLED)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                note_outage(log, error)
            await asyncio.sleep(_SETTLED if len(self._found) == len(self._addresses) else _UNSETTLED)

    async def _fetch(self, name: str) -> bytes | None:
        try:
            address = f"{self._addresses[name].rstrip('/')}/openapi.json"
            answer = await ask(self._http, "GET", address, within=_READ_SECONDS, most_bytes=_MOST_BYTES)
            answer.raise_for_status()
        except (PeerAway, httpx.HTTPStatusError) as error:
            _log_missing(name, error)
            return None
        return answer.content

    def _read(self, name: str, body: bytes) -> Document | None:
        try:
            document: Document = orjson.loads(body)
            if not document["paths"]:
                raise ValueError("no paths")  # noqa: TRY301 - logged below, with every other fault
            self._make_of({name: document})
        except Exception as error:
            log.warning("a service's OpenAPI document cannot be read", extra={"of": name}, exc_info=error)
            return None
        return document


def _log_missing(name: str, error: Exception) -> None:
    log.info("a service's OpenAPI document is not to be had", extra={"of": name, "error": repr(error)})
