"""The composition of the gateway: its own API with the front door around it."""

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from gateway import api
from gateway.access import ACCESS
from gateway.adapters.hashing import Hashing
from gateway.adapters.oidc import OutsideIssuer
from gateway.api.auth_settings import AuthSettings
from gateway.commands import tokens
from gateway.commands.sessions import SessionPolicy
from gateway.commands.tokens import TokenIssuer
from gateway.documents.openapi import Library
from gateway.documents.pages import with_pages
from gateway.edge.access_log import AccessLog, write_to_log
from gateway.edge.cors import Origins
from gateway.edge.proxy import App, Proxy
from gateway.edge.routes import Routes, load
from gateway.edge.server import GuardedProtocol
from gateway.edge.upstream import Upstream
from gateway.handlers import inbox
from gateway.jobs import jobs
from gateway.settings import Settings
from shared.access import TokenVerifier
from shared.process import Process
from shared.running import Server
from shared.secret_box import SecretBox
from shared.service import Service


def common_passwords() -> frozenset[str]:
    """Return the passwords that attackers try first, in lower case."""
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text().split("\n")) - {""}


def build(settings: Settings) -> Service:
    """The front door: accounts, tokens, and the one way in to every service."""
    secret_box = settings.secret_box()
    outside = _outside(settings)
    door = _Door(settings, load(settings.routes_file), secret_box, outside)
    return Service(
        name="gateway",
        title="Gateway",
        description="Accounts, sign-in, partner clients and the keys that verify access tokens.",
        settings=settings,
        versions=Path(__file__).parents[1] / "migrations" / "versions",
        routers=api.routers,
        access=ACCESS,
        inbox=inbox,
        jobs=jobs,
        resources={
            SecretBox: secret_box,
            AuthSettings: AuthSettings(
                hashing=Hashing(),
                token_issuer=TokenIssuer(
                    secret_box,
                    issuer=settings.issuer,
                    audience=settings.audience,
                    life=settings.access_life(),
                    partner_life=timedelta(minutes=settings.partner_minutes),
                ),
                session_policy=SessionPolicy(
                    session=timedelta(days=settings.session_days),
                    grace=timedelta(seconds=settings.refresh_grace_seconds),
                    secret=settings.refresh_secret(),
                ),
                common_passwords=common_passwords(),
                passwords_offered=settings.password_sign_in,
                outside=outside,
            ),
        },
        wrap=door.around,
        also=door.background,
        verifier=door.verifier,
        protocol=GuardedProtocol,
    )


def _outside(settings: Settings) -> OutsideIssuer | None:
    if settings.oidc_issuer is None or settings.oidc_jwks_url is None or settings.oidc_audience is None:
        return None
    http = httpx.AsyncClient(timeout=10)
    return OutsideIssuer(settings.oidc_issuer, settings.oidc_jwks_url, settings.oidc_audience, http)


class _Door:
    """The front door around the API: token verifier, proxy, merged document; built once the process is there."""

    def __init__(
        self, settings: Settings, routes: Routes, secret_box: SecretBox, outside: OutsideIssuer | None
    ) -> None:
        self.settings = settings
        self.routes = routes
        self.secret_box = secret_box
        self.outside = outside
        self.upstreams = {name: Upstream(name, url) for name, url in settings.services.items()}
        self.library: Library | None = None
        self.access_log: AccessLog | None = None

    def verifier(self, process: Process) -> TokenVerifier:
        async def own_keys() -> Mapping[str, Any]:  # Any: JSON
            async with process.database.transaction() as session:
                now = process.database.clock()
                await tokens.active_key(session, self.secret_box, now)
                return await tokens.key_set(session, now)

        return TokenVerifier(self.settings.issuer, self.settings.audience, own_keys, process.database.clock)

    def around(self, process: Process, own: FastAPI) -> ASGIApp:
        settings = self.settings
        self.library = Library(
            own.openapi,
            settings.services,
            self.routes,
            process.http,
            public_url=settings.public_url,
            release=settings.release,
        )
        self.access_log = AccessLog(
            write_to_log, release=settings.release, secret_prefixes=self.routes.secret_prefixes()
        )
        proxy = Proxy(
            routes=self.routes,
            upstreams=self.upstreams,
            own=with_pages(
                cast("App", own),
                self.library,
                release=settings.release,
                contact=settings.contact,
                sample_accounts=settings.sample_accounts,
            ),
            verify=process.verifier.verify,
            origins=Origins(settings.origins),
            policies=settings.policies(),
            access_log=self.access_log,
            proxy_policy=settings.proxy_policy(),
            takes_key=self.library.takes_key,
            any_origin=self.library.any_origin,
        )
        return cast("ASGIApp", proxy)

    def background(self, process: Process) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        if self.settings.internal_port is None:
            return {"library": self._keep}
        return {"library": self._keep, "inside": lambda: _serve_inside(process, self.settings)}

    async def _keep(self) -> None:
        """Keep the merged OpenAPI document fresh; at shutdown write the access log and close the connections."""
        assert self.library is not None, "around() comes first"
        assert self.access_log is not None, "around() comes first"
        try:
            await self.library.keep_fresh()
        finally:
            self.access_log.flush()
            for upstream in self.upstreams.values():
                upstream.close()
            if self.outside is not None:
                await self.outside.http.aclose()


async def _serve_inside(process: Process, settings: Settings) -> None:
    """Serve the gateway's own metrics and event feed on a port that is not the front door's."""
    config = uvicorn.Config(
        process.api,
        host=settings.host,
        port=settings.internal_port or 0,
        http="httptools",
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
    )
    await Server(config).serve(process.sockets_of(settings.internal_port))
