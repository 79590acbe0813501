"""Test support for services: a real, migrated database, a savepoint for each test, tokens, and the access matrix."""

import ast
import asyncio
import dataclasses
import gc
import json
import re
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, cast
from uuid import UUID

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.access import Access, TokenVerifier
from shared.database import Database
from shared.events import Event
from shared.ids import new_id
from shared.messaging.history import History
from shared.messaging.message import read
from shared.messaging.outbox import OutboxNotifier, write_announced
from shared.messaging.tables import Outgoing
from shared.migrate import migrate
from shared.service import Process, Service, operations
from shared.sessions import ReadSession
from shared.web import problems
from shared.web.openapi import errors_of, takes_key
from shared.web.routing import KEY_HEADER

ISSUER, AUDIENCE = "http://localhost:8000", "microcredentials"
MakeDatabase = Callable[[str], Awaitable[str]]


def syntax_tree(source: str) -> ast.Module:
    """Parse Python, undisturbed by the garbage collector.

    What it collects may log a traceback (a task nobody awaited), for which Python parses lines of its own in the middle
    of ours; before 3.11.8 and 3.12.2 that ends in a SystemError (https://github.com/python/cpython/issues/106905).
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collected:
            gc.enable()


class FrozenClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, at: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **units: float) -> None:
        """Move the clock on, by the units of a timedelta."""
        self.at += timedelta(**units)


class Issuer:
    """Signs access tokens as the gateway does, with a key of the test's own."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.kid = "test"

    async def keys(self) -> Mapping[str, Any]:  # Any: JSON
        jwk = json.loads(OKPAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**jwk, "kid": self.kid, "use": "sig", "alg": "EdDSA"}]}

    def token(
        self,
        *roles: str,
        id: UUID | None = None,
        client_id: str | None = None,
        scopes: tuple[str, ...] = (),
    ) -> str:
        """Return an access token for a person with these roles, or for a partner with these scopes."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 600,
            "jti": str(new_id()),
        }
        if client_id is not None:
            claims |= {"sub": client_id, "client_id": client_id, "scope": " ".join(scopes)}
        else:
            claims |= {"sub": str(id or new_id()), "roles": list(roles)}
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": self.kid})


class ServiceUnderTest:
    """A service on a migrated database of its own.

    With `every_response_documented` a problem code, or a media type, that the OpenAPI document does not list with its
    operation fails the test; `deadline_exceeded` is one of the front door's, which any operation may answer with.
    """

    def __init__(self, service: Service, clock: FrozenClock, *, every_response_documented: bool = False) -> None:
        self.every_response_documented = every_response_documented
        self.issuer = Issuer()
        self.clock = clock
        service = dataclasses.replace(
            service,
            verifier=service.verifier or self._verifier,
        )
        self.service = service
        self.process = Process(service, clock=clock)

    def _verifier(self, _: Process) -> TokenVerifier:
        return TokenVerifier(ISSUER, AUDIENCE, self.issuer.keys)

    @asynccontextmanager
    async def rolled_back(self) -> AsyncGenerator[AsyncSession]:
        """Yield a session; what it and the service write is rolled back at the end, and commits become savepoints."""
        database = self.process.database
        before = database.requests, database.reads, database.messages, database.driver, database.finds
        async with database.web.connect() as connection:
            outer = await connection.begin()
            # Between two statements a test may run a browser or an outside verifier, which takes its time.
            await connection.execute(text("set local idle_in_transaction_session_timeout = 0"))
            maker = async_sessionmaker(
                connection,
                expire_on_commit=False,
                join_transaction_mode="create_savepoint",
                info={"clock": self.clock, "notifier": self.process.notifier},
            )

            @asynccontextmanager
            async def driver() -> AsyncGenerator[Any]:  # Any: asyncpg ships no types
                raw: Any = (await connection.get_raw_connection()).driver_connection
                async with raw.transaction():  # a savepoint: a statement that fails must not end the test's transaction
                    yield raw

            database.requests = database.messages = maker
            database.reads = async_sessionmaker(
                connection,
                class_=ReadSession,
                expire_on_commit=False,
                autoflush=False,
                join_transaction_mode="create_savepoint",
                info={"clock": self.clock, "notifier": self.process.notifier},
            )

            async def finds(statement: str) -> bool:
                async with driver() as raw:
                    return await raw.fetchrow(statement) is not None

            database.driver, database.finds = driver, finds
            try:
                async with maker() as session:
                    yield session
            finally:
                database.requests, database.reads, database.messages, database.driver, database.finds = before
                await outer.rollback()

    def client(
        self,
        *roles: str,
        id: UUID | None = None,
        client_id: str | None = None,
        scopes: tuple[str, ...] = (),
    ) -> httpx.AsyncClient:
        """Return a client with these roles (or a partner's scopes); without any it is anonymous.

        It sends a fresh Idempotency-Key with every POST that has none of its own, where the operation takes one.
        """
        headers: dict[str, str] = {}
        if roles or id or client_id:
            token = self.issuer.token(*roles, id=id, client_id=client_id, scopes=scopes)
            headers["Authorization"] = f"Bearer {token}"

        async def add_key(request: httpx.Request) -> None:
            documented = self._documented(request.method, request.url.path).values()
            if KEY_HEADER not in request.headers and any(takes_key(operation) for operation in documented):
                request.headers[KEY_HEADER] = str(new_id())

        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=cast("Any", self.process.app)),  # Any: two spellings of one protocol
            base_url="http://service",
            headers=headers,
            event_hooks={
                "request": [add_key],
                "response": [self._check_documented] if self.every_response_documented else [],
            },
        )

    def _documented(self, method: str, path: str) -> dict[str, dict[str, Any]]:  # Any: OpenAPI
        """Return the operations that the OpenAPI document has for a request, by path."""
        return {
            one: item[method.lower()]
            for one, item in self.process.api.openapi()["paths"].items()
            if method.lower() in item and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", one), path)
        }

    async def _check_documented(self, response: httpx.Response) -> None:
        method = response.request.method
        documented = self._documented(method, response.request.url.path)
        if not documented:
            return
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind == problems.MEDIA_TYPE:
            await response.aread()
            code = response.json()["code"]
            codes = frozenset({problems.DeadlineExceeded.code}).union(*map(errors_of, documented.values()))
            assert code in codes, f"{method} {list(documented)} never told of {code}"
        elif kind and response.status_code != HTTPStatus.NO_CONTENT:
            status = str(response.status_code)
            kinds = {
                kind
                for operation in documented.values()
                for kind in operation["responses"].get(status, {}).get("content", {})
            }
            assert {kind, "*/*"} & kinds, f"{method} {list(documented)} never told of {kind} with {status}"


@asynccontextmanager
async def under_test(
    build: Callable[[str], Service], make_database: MakeDatabase, name: str, *, every_response_documented: bool = False
) -> AsyncGenerator[ServiceUnderTest]:
    """Yield the service on a new database called `name`, migrated as in production."""
    url = await make_database(name)
    service = build(url)
    await migrate(url, service.versions)
    await note_compared(url)
    tested = ServiceUnderTest(service, FrozenClock(), every_response_documented=every_response_documented)
    try:
        yield tested
    finally:
        await tested.process.http.aclose()
        await tested.process.database.dispose()


async def note_compared(url: str) -> None:
    """Record in a database that every other service was asked how far it has read its log, so that it counts as whole
    (`shared.messaging.history`)."""
    database = Database(url, "test", notifier=OutboxNotifier())
    try:
        history = History(database)
        await history.look()
        await history.note_compared()
    finally:
        await database.dispose()


def service_fixtures(
    build: Callable[[str], Service], *, every_response_documented: bool = False
) -> dict[str, Any]:  # Any: fixture functions
    """Return the fixtures of a service's tests, for its conftest: `globals().update(service_fixtures(build))`.

    `service` (its database is kept for all the tests), `session` (in a transaction that is rolled back
    after the test; requests, handlers and jobs share it), `clock` (stands still, at the same instant in each
    test), `live` (a database of the test's own with real commits, for races).
    """

    @pytest.fixture(scope="session")
    async def service(make_database: MakeDatabase) -> AsyncIterator[ServiceUnderTest]:
        name = f"test_{new_id().hex[-12:]}"
        async with under_test(
            build, make_database, name, every_response_documented=every_response_documented
        ) as tested:
            yield tested

    @pytest.fixture
    async def session(service: ServiceUnderTest) -> AsyncIterator[AsyncSession]:
        async with service.rolled_back() as session:
            yield session

    @pytest.fixture
    def clock(service: ServiceUnderTest) -> Iterator[FrozenClock]:
        began = service.clock.at
        yield service.clock
        service.clock.at = began  # tests that do not ask for the clock find it there too

    @pytest.fixture
    async def live(make_database: MakeDatabase) -> AsyncIterator[ServiceUnderTest]:
        name = f"live_{new_id().hex[-12:]}"
        async with under_test(
            build, make_database, name, every_response_documented=every_response_documented
        ) as tested:
            yield tested

    return {"service": service, "session": session, "clock": clock, "live": live}


async def published(session: AsyncSession) -> list[Event]:
    """Return the events published so far in this transaction, oldest first."""
    await session.flush()
    await session.run_sync(write_announced)
    bodies = await session.scalars(select(Outgoing.body).order_by(Outgoing.position))
    return [read(body.encode()).event for body in bodies]


def own_matters(access: Access) -> dict[str, str]:
    """Return the operations that raise an error about one's own matter, with its problem code."""
    return {operation: rule.own.code for operation, rule in access.items() if isinstance(rule.own, type)}


async def access_failures(tested: ServiceUnderTest) -> list[str]:
    """Call every operation as every kind of caller; return what differs from the access table, in words.

    Callers whom the rule admits must get past the guard (any answer but 401, 403 and 5xx); all others must not.
    """
    rules = tested.service.access
    roles = sorted({role for rule in rules.values() for role in rule.owners | rule.staff} | {"nobody_in_particular"})
    scopes = sorted({scope for rule in rules.values() for scope in rule.scopes} | {"nothing:read"})
    failures: list[str] = []
    for operation, (method, path) in operations(tested.process.api).items():
        rule = rules[operation]
        concrete = re.sub(r"\{[^}]+\}", str(new_id()), path)
        actors: list[tuple[str, httpx.AsyncClient, bool]] = [("anonymous", tested.client(), rule.public)]
        actors += [(f"role {r}", tested.client(r), rule.public or r in rule.owners | rule.staff) for r in roles]
        actors += [
            (f"scope {s}", tested.client(client_id="partner", scopes=(s,)), rule.public or s in rule.scopes)
            for s in scopes
        ]
        for actor, client, admitted in actors:
            async with client:
                answer = await client.request(method, concrete)
            code = answer.json().get("code") if answer.status_code in {401, 403} else None
            refused = code in {"invalid_token", "not_permitted"}
            if refused == admitted or answer.is_server_error:
                failures.append(f"{operation} as {actor}: {answer.status_code} {answer.text[:200]}")
    return failures


@asynccontextmanager
async def refusing_database(sqlstate: str) -> AsyncGenerator[str]:
    """Yield the URL of a server that refuses every connection with this SQLSTATE, as PostgreSQL does."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code = _ASKS_FOR_TLS
        while code == _ASKS_FOR_TLS:
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            (code,) = struct.unpack("!i", (await reader.readexactly(length - 4))[:4])
            if code == _ASKS_FOR_TLS:
                writer.write(b"N")
        fields = b"".join(one + b"\0" for one in (b"SFATAL", b"VFATAL", b"C" + sqlstate.encode(), b"Mnot now", b""))
        writer.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"postgresql+asyncpg://nobody:wrong@127.0.0.1:{port}/none"
    finally:
        listening.close()


_ASKS_FOR_TLS = 80877103  # SSLRequest
