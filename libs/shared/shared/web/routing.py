"""A route of ours: the caller is admitted before the body is read, and the request is one transaction.

The transaction is committed before the reply goes out (FastAPI would leave a `yield` dependency only
afterwards: a client would hear 200 and the commit could still fail), together with the stored reply where
the operation takes an Idempotency-Key. So a repeat of a request whose reply was lost gets that same reply.
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

from shared.access import Access, Caller, TokenVerifier
from shared.crashes import crash_point
from shared.database import Database, HotStatement, unit_of_work
from shared.digests import Digests
from shared.errors import Conflict, Gone, Invalid, Malformed, Refusal
from shared.messaging.hot import Asked, LongWay, StoredReply, store_reply
from shared.messaging.replies import ERASED
from shared.web import storable
from shared.web.content import IS_SECRET
from shared.web.problems import RESPONSE

KEY_HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 255


class IdempotencyKeyMissing(Malformed):
    """Operations that create or move money need the header Idempotency-Key."""


class IdempotencyKeyNotTaken(Malformed):
    """No reply to this operation is kept, so a repeat with the same key would be done again: send it without one."""


class IdempotencyKeyRunning(Conflict):
    """A request with this key is being worked on; ask again shortly."""

    remedy = "Ask again with the same key in some seconds."


class ReplyErased(Gone):
    """The request was done; what was answered was erased with the person of whom it told."""

    remedy = "Do not send it again: it was done. Read what there is now."


class IdempotencyKeyReused(Invalid):
    """This key came with another request before; a new request needs a new key."""

    remedy = "Make a new key for the new request."


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
    """Shows the header in OpenAPI; `Operation` enforces it."""


Idempotent = Depends(_declare_key)
"""`@router.post(..., dependencies=[Idempotent])`: the reply is stored with the effect, under the caller's key."""


C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """An admitted request. One that may be answered without a session is handed to what `Router.hot` registered."""

    request: Request
    caller: Caller
    database: Database
    asked: Asked | None
    """Where the operation takes an Idempotency-Key."""

    async def content(self, kind: type[C]) -> C | None:
        """The request's body, None where there is none; raises LongWay where the route must say what is wrong."""
        body = await self.request.body()
        if not body:
            return None
        if self.request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise LongWay
        try:
            return kind.model_validate_json(body)
        except ValidationError as wrong:
            raise LongWay from wrong

    def stored(self, response: Response) -> StoredReply:
        """The reply as it is written with the effect, for an operation that takes an Idempotency-Key."""
        assert self.asked is not None, "the operation takes an Idempotency-Key"
        self.caller.must_have_proven(self.asked.operation)
        return _reply(self.asked, response)


Hot = Callable[[Call], Coroutine[Any, Any, Response]]  # Any: what a coroutine may be sent


class Operation(APIRoute):
    """See the module's docstring."""

    hot: Hot | None = None

    def get_route_handler(
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:  # Any: FastAPI's own type
        handle = super().get_route_handler()
        idempotent = any(dependency.dependency is _declare_key for dependency in self.dependencies)
        in_transaction = idempotent or _depends(self.dependant, _session)
        reads_json = self.body_field is not None
        name = self.operation_id or self.name
        secrets = secret_fields(self.body_field.field_info.annotation) if self.body_field else frozenset[str]()

        async def answer(call: Call) -> Response:
            request, caller, asked = call.request, call.caller, call.asked
            response = await (_once(request, caller, asked, handle) if asked else handle(request))
            caller.must_have_proven(name)
            crash_point("request_handled")
            return response

        async def answer_in_transaction(call: Call) -> Response:
            if not in_transaction:
                return await answer(call)
            reading = call.request.method in _SAFE
            async with unit_of_work(call.database.reads if reading else call.database.requests) as session:
                call.request.state.session = session
                return await answer(call)

        async def answer_hot(hot: Hot, call: Call) -> Response | None:
            try:
                response = await hot(call)
            except (LongWay, Refusal):  # the route looks at it afresh, and says what is the matter
                call.caller.proven = False
                return None
            call.caller.must_have_proven(name)
            return response

        async def guarded(request: Request) -> Response:
            state = request.app.state
            access: Access = state.access
            verifier: TokenVerifier = state.verifier
            database: Database = state.database
            caller = await verifier.admit(access[name], request.headers.get("authorization"))
            request.state.caller = caller
            storable.check_address(request)
            if reads_json:
                storable.check_json(await request.body())
            asked = await (_asked(request, caller, name, secrets) if idempotent else _not_asked(request))
            call = Call(request, caller, database, asked)
            response = await answer_hot(self.hot, call) if self.hot else None
            if response is None:
                response = await answer_in_transaction(call)
            crash_point("request_committed")
            if not caller.rule.public:
                response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guarded


_SAFE: Final = {"GET", "HEAD"}


def _depends(dependant: Dependant, on: Callable[..., Any]) -> bool:  # Any: whatever it gives
    return any(one.call is on or _depends(one, on) for one in dependant.dependencies)


def secret_fields(content: object) -> frozenset[str]:
    """The members of a request's body that are secrets, by their type (`shared.web.content.Secret`)."""
    if not (isinstance(content, type) and issubclass(content, BaseModel)):
        return frozenset()
    return frozenset(name for name, field in content.model_fields.items() if IS_SECRET in field.metadata)


async def _not_asked(request: Request) -> None:
    """Raises IdempotencyKeyNotTaken: who asks again with a key would believe in what nobody promised."""
    if KEY_HEADER in request.headers and request.method not in _SAFE:
        raise IdempotencyKeyNotTaken(f"this operation takes no {KEY_HEADER}")


async def _asked(request: Request, caller: Caller, operation: str, secrets: frozenset[str]) -> Asked:
    """Raises IdempotencyKeyMissing."""
    key = request.headers.get(KEY_HEADER)
    if not key or len(key) > LONGEST_KEY:
        raise IdempotencyKeyMissing(f"send the header {KEY_HEADER}, at most {LONGEST_KEY} characters")
    digests: Digests = request.app.state.digests
    return Asked(caller.name, operation, key, digests.of(_head(request), _but(secrets, await request.body())))


def _head(request: Request) -> bytes:
    return f"{request.method} {request.url.path}?{request.url.query}\n".encode()


def _but(secrets: frozenset[str], body: bytes) -> bytes:
    """The body without its secrets: of these not even a keyed digest is stored."""
    if not secrets:
        return body
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):  # it will be refused, and nothing stored
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
    handle: Callable[[Request], Coroutine[Any, Any, Response]],  # Any: FastAPI's own type
) -> Response:
    session: AsyncSession = request.state.session
    if not (await _TRY_LOCK.within(session, number=asked.lock)).scalar_one():
        raise IdempotencyKeyRunning("a request with this key is being worked on", headers={"Retry-After": "1"})
    found = await _STORED.within(session, caller=asked.caller, operation=asked.operation, key=asked.key)
    stored = found.one_or_none()
    if stored is not None:
        if not await _is_same(asked, stored, request):
            raise IdempotencyKeyReused("this key came with another request before")
        caller.proven = True  # the reply was given to this same caller
        if stored.status == ERASED:
            raise ReplyErased("this was done, and what was answered is erased")
        return Response(stored.body, stored.status, {**stored.headers, "Idempotency-Replayed": "true"})
    response = await handle(request)
    await store_reply(session, _reply(asked, response))
    return response


_TRY_LOCK: Final = HotStatement("select pg_try_advisory_xact_lock(:number)")
_STORED: Final = HotStatement("""
    select request_sha256, request_digest, status, headers, body from idempotency_keys
    where caller = :caller and operation = :operation and key = :key
""")
"""A statement of its own: one that also took the lock would not see what was stored while it waited for its turn."""


class Router(APIRouter):
    """An APIRouter whose routes are Operations, each of which may refuse."""

    def hot(self, operation_id: str) -> Callable[[Hot], Hot]:
        """Before that operation's route is called and a session opened, try the function below.

        It answers the ordinary case as the route would, in one transaction of its own. For every other it raises
        LongWay, or any refusal, and has written nothing.
        """
        [route] = [one for one in self.routes if isinstance(one, Operation) and one.operation_id == operation_id]

        def register(hot: Hot) -> Hot:
            route.hot = hot
            return hot

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
"""The request's transaction (autocommit on GET); nobody calls commit()."""

DatabaseOf = Annotated[Database, Depends(_database)]
"""For a HotStatement; everything else goes through the Session."""

CallerOf = Annotated[Caller, Depends(_caller)]
"""Who is asking."""

R = TypeVar("R")


def resource(kind: type[R]) -> params.Depends:
    """Hands a route what app.py built (an adapter, the settings): `Annotated[Store, resource(Store)]`."""

    async def find(request: Request) -> R:
        return cast("R", request.app.state.resources[kind])

    return cast("params.Depends", Depends(find))
