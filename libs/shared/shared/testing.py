"""What tests of a service stand on: a real, migrated database, a savepoint a test, tokens, and the access matrix."""

import asyncio
import dataclasses
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

from shared.access import TokenVerifier
from shared.events import Event
from shared.ids import new_id
from shared.messaging.message import read
from shared.messaging.outbox import write_announced
from shared.messaging.tables import Outgoing
from shared.migrate import migrate
from shared.service import Process, Service, operations
from shared.web import problems
from shared.web.openapi import refusals_of, takes_key
from shared.web.routing import KEY_HEADER

ISSUER, AUDIENCE = "http://localhost:8000", "microcredentials"
MakeDatabase = Callable[[str], Awaitable[str]]


class StandingClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, at: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **units: float) -> None:
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

    With `every_answer_told` a refusal, or a kind of content, that the OpenAPI document does not list with its operation
    fails the test.
    """

    def __init__(self, service: Service, clock: StandingClock, *, every_answer_told: bool = False) -> None:
        self.every_answer_told = every_answer_told
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
        """Everything the test and the service write is undone at its end; commits become savepoints."""
        database = self.process.database
        before = database.requests, database.reads, database.messages, database.driver, database.finds
        async with database.web.connect() as connection:
            outer = await connection.begin()
            # What a test does between two statements, a browser or an outside verifier, may take its time.
            await connection.execute(text("set local idle_in_transaction_session_timeout = 0"))
            maker = async_sessionmaker(
                connection,
                expire_on_commit=False,
                join_transaction_mode="create_savepoint",
                info={"clock": self.clock, "wakeup": self.process.wakeup},
            )

            @asynccontextmanager
            async def driver() -> AsyncGenerator[Any]:  # Any: asyncpg ships no types
                raw: Any = (await connection.get_raw_connection()).driver_connection
                async with raw.transaction():  # a savepoint: a statement that fails must not end the test's transaction
                    yield raw

            database.requests = database.reads = database.messages = maker

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
        """A client with these roles (or a partner's scopes); without any it is anonymous.

        It sends a fresh Idempotency-Key with every POST that has none of its own, where the operation takes one.
        """
        headers: dict[str, str] = {}
        if roles or id or client_id:
            token = self.issuer.token(*roles, id=id, client_id=client_id, scopes=scopes)
            headers["Authorization"] = f"Bearer {token}"

        async def add_key(request: httpx.Request) -> None:
            told = self._told(request.method, request.url.path).values()
            if KEY_HEADER not in request.headers and any(takes_key(operation) for operation in told):
                request.headers[KEY_HEADER] = str(new_id())

        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=cast("Any", self.process.app)),  # Any: two spellings of one protocol
            base_url="http://service",
            headers=headers,
            event_hooks={"request": [add_key], "response": [self._check_told] if self.every_answer_told else []},
        )

    def _told(self, method: str, path: str) -> dict[str, dict[str, Any]]:  # Any: OpenAPI
        """By path, the operations that the OpenAPI document has for a request."""
        return {
            one: item[method.lower()]
            for one, item in self.process.api.openapi()["paths"].items()
            if method.lower() in item and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", one), path)
        }

    async def _check_told(self, response: httpx.Response) -> None:
        method = response.request.method
        told = self._told(method, response.request.url.path)
        if not told:
            return
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind == problems.MEDIA_TYPE:
            await response.aread()
            code = response.json()["code"]
            codes = frozenset[str]().union(*map(refusals_of, told.values()))
            assert code in codes, f"{method} {list(told)} never told of {code}"
        elif kind and response.status_code != HTTPStatus.NO_CONTENT:
            status = str(response.status_code)
            kinds = {
                kind
                for operation in told.values()
                for kind in operation["responses"].get(status, {}).get("content", {})
            }
            assert {kind, "*/*"} & kinds, f"{method} {list(told)} never told of {kind} with {status}"


@asynccontextmanager
async def under_test(
    build: Callable[[str], Service], make_database: MakeDatabase, name: str, *, every_answer_told: bool = False
) -> AsyncGenerator[ServiceUnderTest]:
    """Build the service on a fresh database called `name`, migrated as in production."""
    url = await make_database(name)
    service = build(url)
    await migrate(url, service.versions)
    tested = ServiceUnderTest(service, StandingClock(), every_answer_told=every_answer_told)
    try:
        yield tested
    finally:
        await tested.process.http.aclose()
        await tested.process.database.dispose()


def service_fixtures(
    build: Callable[[str], Service], *, every_answer_told: bool = False
) -> dict[str, Any]:  # Any: fixture functions
    """The fixtures of a service's tests, for its conftest: `globals().update(service_fixtures(build))`.

    `service` (its database is kept for all the tests), `session` (in a transaction that is rolled back
    after the test; requests, handlers and jobs share it), `clock` (stands still, at the same instant in each
    test), `live` (a database of the test's own with real commits, for races).
    """

    @pytest.fixture(scope="session")
    async def service(make_database: MakeDatabase) -> AsyncIterator[ServiceUnderTest]:
        name = f"test_{new_id().hex[-12:]}"
        async with under_test(build, make_database, name, every_answer_told=every_answer_told) as tested:
            yield tested

    @pytest.fixture
    async def session(service: ServiceUnderTest) -> AsyncIterator[AsyncSession]:
        async with service.rolled_back() as session:
            yield session

    @pytest.fixture
    def clock(service: ServiceUnderTest) -> Iterator[StandingClock]:
        began = service.clock.at
        yield service.clock
        service.clock.at = began  # tests that do not ask for the clock find it there too

    @pytest.fixture
    async def live(make_database: MakeDatabase) -> AsyncIterator[ServiceUnderTest]:
        name = f"live_{new_id().hex[-12:]}"
        async with under_test(build, make_database, name, every_answer_told=every_answer_told) as tested:
            yield tested

    return {"service": service, "session": session, "clock": clock, "live": live}


async def published(session: AsyncSession) -> list[Event]:
    """The events announced so far in this transaction, oldest first."""
    await session.flush()
    await session.run_sync(write_announced)
    bodies = await session.scalars(select(Outgoing.body).order_by(Outgoing.position))
    return [read(body.encode()).event for body in bodies]


async def access_failures(tested: ServiceUnderTest) -> list[str]:
    """Try every operation as every kind of caller; what differs from the access table, in words.

    Whom the rule admits must get past the guard (any answer but 401, 403 and 5xx); all others must not.
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
    """The address of a server that refuses every connection with this SQLSTATE, as PostgreSQL does."""

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
