"""A route of ours: the caller is admitted before the body is read, and the request is one transaction.

The transaction is committed before the reply goes out (FastAPI would leave a `yield` dependency only
afterwards: a client would hear 200 and the commit could still fail), together with the stored reply where
the operation takes an Idempotency-Key. So a repeat of a request whose reply was lost gets that same reply.
"""

import hashlib
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, TypeVar, cast

from fastapi import APIRouter, Depends, Header, Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access import Access, Caller, TokenVerifier
from shared.crashes import crash_point
from shared.database import Database, lock_number, unit_of_work
from shared.errors import Conflict, Invalid, Malformed
from shared.messaging.tables import Idempotency
from shared.web.problems import RESPONSE

KEY_HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 255


class IdempotencyKeyMissing(Malformed):
    """Operations that create or move money need the header Idempotency-Key."""


class IdempotencyKeyRunning(Conflict):
    """A request with this key is being worked on; ask again shortly."""


class IdempotencyKeyReused(Invalid):
    """This key came with another request before; a new request needs a new key."""


class OwnershipNotProven(RuntimeError):
    """Our fault: a handler of an owned operation returned without `caller.must_own` or `caller.own_id`."""


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


class Operation(APIRoute):
    """See the module's docstring."""

    def get_route_handler(
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:  # Any: FastAPI's own type
        handle = super().get_route_handler()
        idempotent = any(dependency.dependency is _declare_key for dependency in self.dependencies)
        in_transaction = idempotent or _depends(self.dependant, _session)
        name = self.operation_id or self.name

        async def answer(request: Request, caller: Caller) -> Response:
            response = await (_once(request, caller, name, handle) if idempotent else handle(request))
            if caller.rule.owners and not caller.proven:
                raise OwnershipNotProven(name)
            crash_point("request_handled")
            return response

        async def guarded(request: Request) -> Response:
            state = request.app.state
            access: Access = state.access
            verifier: TokenVerifier = state.verifier
            database: Database = state.database
            caller = await verifier.admit(access[name], request.headers.get("authorization"))
            request.state.caller = caller
            if in_transaction:
                sessions = database.reads if request.method in _SAFE else database.requests
                async with unit_of_work(sessions) as session:
                    request.state.session = session
                    response = await answer(request, caller)
            else:
                response = await answer(request, caller)
            crash_point("request_committed")
            if not caller.rule.public:
                response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guarded


_SAFE: Final = {"GET", "HEAD"}


def _depends(dependant: Dependant, on: Callable[..., Any]) -> bool:  # Any: whatever it gives
    return any(one.call is on or _depends(one, on) for one in dependant.dependencies)


async def _once(
    request: Request,
    caller: Caller,
    operation: str,
    handle: Callable[[Request], Coroutine[Any, Any, Response]],  # Any: FastAPI's own type
) -> Response:
    session: AsyncSession = request.state.session
    key = request.headers.get(KEY_HEADER)
    if not key or len(key) > LONGEST_KEY:
        raise IdempotencyKeyMissing(f"send the header {KEY_HEADER}, at most {LONGEST_KEY} characters")
    asked = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    asked.update(await request.body())
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(lock_number(caller.name, operation, key)))):
        raise IdempotencyKeyRunning("a request with this key is being worked on", headers={"Retry-After": "1"})
    stored = await session.get(Idempotency, (caller.name, operation, key))
    if stored is not None:
        if stored.request_sha256 != asked.digest():
            raise IdempotencyKeyReused("this key came with another request before")
        caller.proven = True  # the reply was given to this same caller
        return Response(stored.body, stored.status, {**stored.headers, "Idempotency-Replayed": "true"})
    response = await handle(request)
    session.add(
        Idempotency(
            caller=caller.name,
            operation=operation,
            key=key,
            request_sha256=asked.digest(),
            status=response.status_code,
            headers={name: value for name, value in response.headers.items() if name in {"content-type", "location"}},
            body=bytes(response.body),
        )
    )
    return response


class Router(APIRouter):
    """An APIRouter whose routes are Operations, each of which may refuse."""

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
"""For a HotRead; everything else goes through the Session."""

CallerOf = Annotated[Caller, Depends(_caller)]
"""Who is asking."""

R = TypeVar("R")


def resource(kind: type[R]) -> params.Depends:
    """Hands a route what app.py built (an adapter, the settings): `Annotated[Store, resource(Store)]`."""

    async def find(request: Request) -> R:
        return cast("R", request.app.state.resources[kind])

    return cast("params.Depends", Depends(find))
