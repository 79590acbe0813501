"""A service: its parts, which its app.py puts together, and the API they make. `shared.process` runs it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from shared.access import Access, TokenVerifier
from shared.database import Database
from shared.digests import Digests
from shared.directory import DirectoryEntry, Reader
from shared.directory import router as directory_router
from shared.due_times import DueTime
from shared.jobs import Jobs
from shared.messaging import feed
from shared.messaging.inbox import Inbox
from shared.settings import ServiceSettings
from shared.web import openapi, problems
from shared.web.middleware import HeadAsGet, Telemetry
from shared.web.storable import StorableAddress

if TYPE_CHECKING:
    from shared.process import Process  # which runs a Service, and is what its hooks are given


@dataclass(frozen=True)
class Service:
    """The parts of a service, which its app.py puts together."""

    name: str
    title: str
    description: str
    settings: ServiceSettings
    versions: Path
    """The folder of its migrations."""
    routers: Sequence[APIRouter]
    access: Access
    inbox: Inbox
    jobs: Jobs = field(default_factory=Jobs)
    due_times: Sequence[DueTime] = ()
    """The service's own columns by which rows wait."""
    resources: Mapping[type, Any] = field(default_factory=dict[type, Any])
    """What routes and jobs need beyond the database, by type. Any: each is its own type."""
    directory: Mapping[type[DirectoryEntry], Reader] = field(default_factory=dict[type[DirectoryEntry], Reader])
    """The directory entries that the other services may read from it by key."""
    webhooks: Sequence[APIRouter] = ()
    """The messages it posts to others, for its OpenAPI document."""
    wrap: Callable[["Process", FastAPI], ASGIApp] | None = None
    """Puts another ASGI application around the API (the gateway's proxy)."""
    also: Callable[["Process"], Mapping[str, Callable[[], Coroutine[Any, Any, None]]]] | None = None
    """Further loops to run under the same TaskGroup, by name; each reports its liveness (`shared.liveness`)."""
    further_connections: int = 0
    """How many connections to the database those loops keep open."""
    protocol: type[asyncio.Protocol] | Literal["httptools"] = "httptools"
    """Reads HTTP from the socket (the gateway's bounds a request's head in bytes and in time)."""
    verifier: Callable[["Process"], TokenVerifier] | None = None
    """Makes the token verifier of the gateway, which has its keys; every other service fetches them from it."""


def build_api(
    service: Service,
    *,
    database: Database,
    verifier: TokenVerifier,
    digests: Digests,
    resources: Mapping[type, Any],  # Any: each is its own type
    health: APIRouter,
) -> FastAPI:
    """Build the service's FastAPI application, guarded by its access table.

    Raises RuntimeError: the table does not fit the operations.
    """
    app = FastAPI(
        title=service.title,
        description=service.description,
        version=service.settings.release,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a redirect would lead to whatever host the request names
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.database = database
    app.state.access = service.access
    app.state.verifier = verifier
    app.state.digests = digests
    app.state.resources = resources
    app.state.directory = service.directory
    app.state.feed_secret = service.settings.feed_secret.get_secret_value()
    problems.install(app)
    # Not include_router: every request would look for its route in a router within the router, at twice the cost.
    for router in (*service.routers, feed.router, directory_router, health):
        app.router.routes.extend(router.routes)
    for router in service.webhooks:
        app.webhooks.routes.extend(router.routes)
    app.add_middleware(StorableAddress)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Telemetry, service=service.name)
    app.openapi = lambda: openapi.describe(app, service.name, service.access)
    _check_access(app, service)
    return app


def operations(app: FastAPI) -> dict[str, tuple[str, str]]:
    """Return the method and path of every operation in the OpenAPI document, by operationId."""
    document = app.openapi()
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "operationId" in operation
    }


def _check_access(app: FastAPI, service: Service) -> None:
    served, declared = set(operations(app)), set(service.access)
    if served != declared:
        message = (
            f"{service.name}: operations without an access row: {served - declared}; "
            f"rows without an operation: {declared - served}"
        )
        raise RuntimeError(message)
    for operation, (method, _) in operations(app).items():
        rule = service.access[operation]
        shown_to_owners = method == "GET" and rule.owners
        if rule.staff and rule.own is None and not shown_to_owners:
            message = f"{service.name}: {operation} does not say what staff get who would decide about themselves"
            raise RuntimeError(message)
