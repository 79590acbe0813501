"""Routes of our own class: the caller is admitted before the body is read, and the request is one transaction.

The transaction is committed before the reply is sent (FastAPI would leave a `yield` dependency only afterwards: a
client would get a 200 and the commit could still fail), together with the stored reply where the operation takes an
Idempotency-Key. So a repeat of a request whose reply was lost gets that same reply.
"""

import hashlib
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, cast

from fastapi import APIRouter, Depends, Header, Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from shared import telemetry
from shared.access import CALLER, Access, Caller, TokenVerifier
from shared.database import Database, unit_of_work
from shared.digests import Digests
from shared.errors import DomainError
from shared.failpoints import failpoint
from shared.idempotency import (
    ERASED,
    Asked,
    IdempotencyKeyMissing,
    IdempotencyKeyNotTaken,
    IdempotencyKeyReused,
    IdempotencyKeyRunning,
    ReplyErased,
    StoredReply,
    find_reply,
    store_reply,
)
from shared.messaging.fast_path import Fallback
from shared.sessions import ReadOnlySession
from shared.web import storable
from shared.web.content import IS_SECRET
from shared.web.problems import RESPONSE
from shared.web.waiting import in_time

KEY_HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 255


async def _declare_key(
    key: Annotated[
        str | None,
        Header(
            alias=KEY_HEADER,
            description="A value of your choosing, unique per intended effect (a UUID); a repeat with the same key "
            "and body gets the first reply again",
            examples=["0b5f6f6e-0d0c-4b57-9d7e-0c9f6f3d1f50"],
            max_length=LONGEST_KEY,
        ),
    ] = None,
) -> None:
    """Declare the header for OpenAPI; `Operation` enforces it."""


Idempotent = Depends(_declare_key)
"""Makes an operation take an Idempotency-Key, under which its reply is stored with its effect:
`@router.post(..., dependencies=[Idempotent])`."""


C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """An admitted request, as a fast path is given it (`Router.fast_path`)."""

    request: Request
    caller: Caller
    database: Database
    asked: Asked | None
    """The request's key and digest, where the operation takes an Idempotency-Key."""

    async def content(self, kind: type[C]) -> C | None:
        """Return the request's body as a model; None where there is none.

        Raises Fallback: it does not fit, and the route says why.
        """
        body = await self.request.body()
        if not body:
            return None
        if self.request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Fallback
        try:
            return kind.model_validate_json(body)
        except ValidationError as wrong:
            raise Fallback from wrong

    def stored(self, response: Response) -> StoredReply:
        """Return the reply as it is stored with the effect, for an operation that takes an Idempotency-Key."""
        assert self.asked is not None, "the operation takes an Idempotency-Key"
        self.caller.must_have_proven(self.asked.operation)
        return _reply(self.asked, response)


FastPath = Callable[[Call], Coroutine[Any, Any, Response]]  # Any: what a coroutine may be sent
SameSecrets = Callable[[Request, AsyncSession, bytes], Coroutine[Any, Any, bool]]
_Handle = Callable[[Request], Coroutine[Any, Any, Response]]  # Any: FastAPI's own type


class Operation(APIRoute):
    """A route that admits its caller first, commits before its reply is sent (see the module's docstring), and ends
    when its caller waits no longer."""

    fast_path: FastPath | None = None
    same_secrets: SameSecrets | None = None

    def get_route_handler(self) -> _Handle:
        handle = self._admitting(super().get_route_handler())

        async def answer_in_time(request: Request) -> Response:
            return await in_time(request, handle(request))

        return answer_in_time

    def _admitting(self, handle: _Handle) -> _Handle:
        idempotent = any(dependency.dependency is _declare_key for dependency in self.dependencies)
        in_transaction = idempotent or _depends(self.dependant, _session)
        reads_json = self.body_field is not None
        name = self.operation_id or self.name
        secrets = secret_fields(self.body_field.field_info.annotation) if self.body_field else frozenset[str]()

        async def answer(call: Call) -> Response:
            request, caller, asked = call.request, call.caller, call.asked
            assert not (asked and secrets) or self.same_secrets, "nothing compares the secrets of a repeat"
            response = await (_once(request, caller, asked, handle, self.same_secrets) if asked else handle(request))
            caller.must_have_proven(name)
            failpoint("request_handled")
            return response

        async def answer_in_transaction(call: Call) -> Response:
            if not in_transaction:
                return await answer(call)
            reading = call.request.method in _SAFE
            async with unit_of_work(call.database.reads if reading else call.database.requests) as session:
                call.request.state.session = session
                session.info[CALLER] = call.caller
                return await answer(call)

        async def answer_fast(fast_path: FastPath, call: Call) -> Response | None:
            try:
                response = await fast_path(call)
            except (Fallback, DomainError):  # the route decides anew, and answers with the error
                call.caller.proven = False
                return None
            call.caller.must_have_proven(name)
            return response

        async def guarded(request: Request) -> Response:
            telemetry.operation.set(name)
            state = request.app.state
            access: Access = state.access
            verifier: TokenVerifier = state.verifier
            database: Database = state.database
            caller = await verifier.admit(access[name], request.headers.get("authorization"))
            request.state.caller = caller
            if reads_json:
                storable.check_json(await request.body())
            asked = await (_asked(request, caller, name, secrets) if idempotent else _not_asked(request))
            call = Call(request, caller, database, asked)
            response = await answer_fast(self.fast_path, call) if self.fast_path else None
            if response is None:
                response = await answer_in_transaction(call)
            failpoint("request_committed")
            if not caller.rule.public:
                response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guarded


_SAFE: Final = {"GET", "HEAD"}


def _depends(dependant: Dependant, on: Callable[..., Any]) -> bool:  # Any: whatever it gives
    return any(one.call is on or _depends(one, on) for one in dependant.dependencies)


def secret_fields(content: object) -> frozenset[str]:
    """Return the members of a request's body that are secrets, by their type (`shared.web.content.Secret`)."""
    if not (isinstance(content, type) and issubclass(content, BaseModel)):
        return frozenset()
    return frozenset(name for name, field in content.model_fields.items() if IS_SECRET in field.metadata)


async def _not_asked(request: Request) -> None:
    """Raise IdempotencyKeyNotTaken where a request that writes has a key: its sender would count on a stored reply."""
    if KEY_HEADER in request.headers and request.method not in _SAFE:
        raise IdempotencyKeyNotTaken(f"this operation takes no {KEY_HEADER}")


async def _asked(request: Request, caller: Caller, operation: str, secrets: frozenset[str]) -> Asked:
    """Return the request's key and digest.

    Raises IdempotencyKeyMissing: it has no key, or one that is too long.
    """
    key = request.headers.get(KEY_HEADER)
    if not key or len(key) > LONGEST_KEY:
        raise IdempotencyKeyMissing(f"send the header {KEY_HEADER}, at most {LONGEST_KEY} characters")
    digests: Digests = request.app.state.digests
    return Asked(caller.name, operation, key, digests.of(_head(request), _but(secrets, await request.body())))


def _head(request: Request) -> bytes:
    return f"{request.method} {request.url.path}?{request.url.query}\n".encode()


def _but(secrets: frozenset[str], body: bytes) -> bytes:
    """Return the body without its secrets: of these not even a keyed digest is stored."""
    if not secrets:
        return body
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):  # the route refuses it, and nothing is stored
        return b""
    if not isinstance(content, dict):
        return b""
    members = cast("dict[str, object]", content)
    return json.dumps({name: value for name, value in sorted(members.items()) if name not in secrets}).encode()


async def _is_same(asked: Asked, stored: Any, request: Request) -> bool:  # Any: a row
    if stored.request_digest is not None:
        return stored.request_digest == asked.digest
    former = hashlib.sha256(_head(request) + await request.body()).digest()
    return stored.request_sha256 == former  # written by the previous release, a day ago at most


def _reply(asked: Asked, response: Response) -> StoredReply:
    kept = {name: value for name, value in response.headers.items() if name in {"content-type", "location"}}
    return StoredReply(asked, response.status_code, kept, bytes(response.body))


async def _once(
    request: Request,
    caller: Caller,
    asked: Asked,
    handle: _Handle,
    same_secrets: SameSecrets | None,
) -> Response:
    session: AsyncSession = request.state.session
    stored = await find_reply(session, asked)
    if stored is not None:
        if not await _is_same(asked, stored, request):
            raise IdempotencyKeyReused("this key came with another request before")
        caller.had_this_reply()
        if stored.status == ERASED:
            raise ReplyErased("this was done, and what was answered is erased")
        if same_secrets and not await same_secrets(request, session, stored.body):
            raise IdempotencyKeyReused("this key came with another secret before")
        return Response(stored.body, stored.status, {**stored.headers, "Idempotency-Replayed": "true"})
    response = await handle(request)
    if not await store_reply(session, _reply(asked, response)):
        # A command that commits in its middle gives up the lock: a repeat was done meanwhile, and this is rolled back.
        raise IdempotencyKeyRunning("a request with this key was done meanwhile", headers={"Retry-After": "1"})
    return response


class Router(APIRouter):
    """An APIRouter whose routes are Operations, each with the problem document as its default response."""

    def fast_path(self, operation_id: str) -> Callable[[FastPath], FastPath]:
        """Try the decorated function before that operation's route is called and a session opened.

        It answers the ordinary case as the route would, in one transaction of its own. In every other case it raises
        Fallback, or any DomainError, and has written nothing; the route is then called.
        """
        [route] = [one for one in self.routes if isinstance(one, Operation) and one.operation_id == operation_id]

        def register(fast_path: FastPath) -> FastPath:
            route.fast_path = fast_path
            return fast_path

        return register

    def same_secrets(self, operation_id: str) -> Callable[[SameSecrets], SameSecrets]:
        """Let the decorated function say whether a repeat of that operation has the secrets of the first request.

        It is given the repeat, its session and the body of the stored reply, and compares with what was stored of the
        secrets of what was made then. Every operation must have one whose body has secrets and that takes a key.
        """
        [route] = [one for one in self.routes if isinstance(one, Operation) and one.operation_id == operation_id]

        def register(same_secrets: SameSecrets) -> SameSecrets:
            route.same_secrets = same_secrets
            return same_secrets

        return register

    def __init__(self, **options: Any) -> None:  # Any: APIRouter's own options
        super().__init__(**options, route_class=Operation, responses={"default": RESPONSE})


# Dependencies are coroutines: FastAPI would send plain functions to a thread, at several times the cost of the rest.


async def _session(request: Request) -> AsyncSession:
    return request.state.session


async def _database(request: Request) -> Database:
    return request.app.state.database


async def _caller(request: Request) -> Caller:
    return request.state.caller


Session = Annotated[AsyncSession, Depends(_session)]
"""The session of the request's transaction; nobody calls commit() (see `shared.sessions`)."""

ReadSession = Annotated[ReadOnlySession, Depends(_session)]
"""The session of a GET: in autocommit, and it refuses statements that write."""

DatabaseOf = Annotated[Database, Depends(_database)]
"""The service's database, for a RawStatement; everything else goes through the Session."""

CallerOf = Annotated[Caller, Depends(_caller)]
"""The caller whom the access table has admitted."""

R = TypeVar("R")


def resource(kind: type[R]) -> params.Depends:
    """Return the dependency that gives a route what app.py built (an adapter, the settings):
    `Annotated[Store, resource(Store)]`."""

    async def find(request: Request) -> R:
        return cast("R", request.app.state.resources[kind])

    return cast("params.Depends", Depends(find))
