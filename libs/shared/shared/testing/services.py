"""A service on a real, migrated database: a savepoint for each test, clients with tokens, and what it published."""

import dataclasses
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Self, cast
from uuid import UUID

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.access import TokenVerifier
from shared.database import Database
from shared.ids import new_id
from shared.messaging.history import History
from shared.messaging.message import read
from shared.messaging.outbox import OutboxNotifier, write_announced
from shared.messaging.tables import Outgoing
from shared.migrate import migrate
from shared.process import Process
from shared.service import Service
from shared.sessions import ReadOnlySession
from shared.web import problems
from shared.web.openapi import errors_of, takes_key
from shared.web.routing import KEY_HEADER

ISSUER, AUDIENCE = "http://localhost:8000", "microcredentials"
MakeDatabase = Callable[[str], Awaitable[str]]
"""Creates an empty database of that name and returns its URL."""
CopyDatabase = Callable[[str, str], Awaitable[str]]
"""Copies the database of the first name, to which nobody is connected, as the second name; returns the copy's URL."""
BuildService = Callable[[str], Service]
"""Puts a service together, given its database's URL."""


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
                class_=ReadOnlySession,
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
            assert code in codes, f"{method} {list(documented)} does not document {code}"
        elif kind and response.status_code != HTTPStatus.NO_CONTENT:
            status = str(response.status_code)
            kinds = {
                kind
                for operation in documented.values()
                for kind in operation["responses"].get(status, {}).get("content", {})
            }
            assert {kind, "*/*"} & kinds, f"{method} {list(documented)} does not document {kind} with {status}"


@asynccontextmanager
async def under_test(
    build: BuildService,
    make_database: MakeDatabase,
    name: str,
    *,
    every_response_documented: bool = False,
    is_migrated: bool = False,
) -> AsyncGenerator[ServiceUnderTest]:
    """Yield the service on a new database called `name`, migrated as in production unless it is when it is made."""
    url = await make_database(name)
    service = build(url)
    if not is_migrated:
        await migrate(url, service.versions)
    await note_compared(url)
    tested = ServiceUnderTest(service, FrozenClock(), every_response_documented=every_response_documented)
    try:
        yield tested
    finally:
        await tested.process.http.aclose()
        await tested.process.database.dispose()


class KeptServices:
    """Services under test, each built once and closed at the end of the `async with`."""

    def __init__(self, make_database: MakeDatabase) -> None:
        self._make_database = make_database
        self._kept: dict[BuildService, ServiceUnderTest] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def of(self, build: BuildService) -> ServiceUnderTest:
        """Return the service that `build` makes, the same at each call."""
        if build not in self._kept:
            name = f"test_{new_id().hex[-12:]}"
            tested = under_test(build, self._make_database, name, every_response_documented=True)
            self._kept[build] = await self._open.enter_async_context(tested)
        return self._kept[build]


class Templates:
    """Migrated databases, one for each service: copying one takes a tenth of the time of migrating another."""

    def __init__(self, make_database: MakeDatabase, copy_database: CopyDatabase) -> None:
        self._make_database, self._copy_database = make_database, copy_database
        self._names: dict[BuildService, str] = {}

    async def copy(self, build: BuildService, name: str) -> str:
        """Make a migrated database called `name` for the service that `build` makes. Returns its URL."""
        if build not in self._names:
            template = f"template_{new_id().hex[-12:]}"
            url = await self._make_database(template)
            await migrate(url, build(url).versions)
            self._names[build] = template
        return await self._copy_database(self._names[build], name)


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


async def published(session: AsyncSession) -> list[Any]:  # Any: a test knows which events it expects
    """Return the events published so far in this transaction, oldest first."""
    await session.flush()
    await session.run_sync(write_announced)
    bodies = await session.scalars(select(Outgoing.body).order_by(Outgoing.position))
    return [read(body.encode()).event for body in bodies]
