"""The services of the platform as one place knows them: their names, addresses, settings and how each is built."""

import base64
import json
import secrets
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from embedded import installation, ports
from embedded.people import ROLES, address_of
from gateway.edge.routes import load
from gateway.openapi import merge
from shared.origins import LOOPBACK
from shared.service import Process, Service

NAMES: Final = ("catalogue", "enrolment", "assessment", "credentials", "payments", "gateway")
BEHIND_THE_GATEWAY: Final = NAMES[:-1]
PROVIDER: Final = "payment provider"
INTERNALS: Final = "gateway internals"
"""The gateway's own event log and metrics, which its public port does not show."""


@dataclass(frozen=True)
class Place:
    """Where one platform lives: its folder, its ports, its databases and, if there is one, its broker."""

    folder: Path
    ports: dict[str, int]
    databases: dict[str, str]
    amqp_url: str | None = None
    origins: tuple[str, ...] = LOOPBACK
    """Pages of these may call, and payers may be sent back to them."""
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    ample: bool = True
    """Its PostgreSQL has 200 connections for one replica of everything."""

    def url(self, name: str) -> str:
        """Its address as people see it."""
        return f"http://localhost:{self.ports[name]}"

    def address(self, name: str) -> str:
        """Where our own programs reach it: `localhost` may lead to [::1], where a stranger may listen."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def feeds(self) -> dict[str, str]:
        """Where each service shows its event log."""
        return {source: self.address(source) for source in BEHIND_THE_GATEWAY} | {"gateway": self.address(INTERNALS)}

    def settings(self, name: str) -> dict[str, Any]:  # Any: each setting's own type
        """The settings of one service, as its Settings class takes them."""
        values: dict[str, Any] = {
            "database_url": self.databases[name],
            "amqp_url": self.amqp_url,
            "public_url": self.url("gateway"),
            "issuer": self.url("gateway"),
            "jwks_url": f"{self.address('gateway')}/.well-known/jwks.json",
            "feed_secret": self.secrets["feed"],
            "feeds": self.feeds,
            "origins": [*self.origins],
            "host": "127.0.0.1",
            "port": self.ports[name],
            "mail_folder": str(self.folder / "mail"),
            "log_level": "INFO",
            **({"pool_size": 10, "messaging_pool_size": 6} if self.ample else {}),
        }
        return values | self._own(name)

    def _own(self, name: str) -> dict[str, Any]:  # Any: each setting's own type
        match name:
            case "gateway":
                return {
                    "services": {service: self.address(service) for service in BEHIND_THE_GATEWAY},
                    "wrapping_key": self.secrets["gateway keys"],
                    "sample_accounts": {name: address_of(name) for name in ROLES},
                    "internal_port": self.ports[INTERNALS],
                    # On one's own machine one person is all the callers: a demo or a replay is no abuse.
                    "rates": {
                        policy: [1_000_000, 60]
                        for policy in ("anonymous", "person", "credentials", "callbacks", "verifications", "searches")
                    },
                }
            case "payments":
                return {
                    "provider_url": self.address(PROVIDER),
                    "notifications_url": f"{self.address('gateway')}/v1/payment-notifications",
                    "provider_api_key": self.secrets["provider api"],
                    "provider_secrets": [self.secrets["provider callbacks"]],
                }
            case "credentials":
                return {
                    "wrapping_key": self.secrets["credentials keys"],
                    "webhooks_reach_loopback": True,
                    "evidence_url": (self.folder / "evidence").absolute().as_uri(),
                }
            case "enrolment":
                return {"evidence_url": (self.folder / "name-evidence").absolute().as_uri()}
            case "assessment":
                return {"storage_url": (self.folder / "submissions").absolute().as_uri()}
            case _:
                return {}

    def environment(self, name: str) -> dict[str, str]:
        """The same settings as environment variables, for a process of its own."""
        return {
            f"MC_{key.upper()}": json.dumps(value) if isinstance(value, dict | list) else str(value)
            for key, value in self.settings(name).items()
            if value is not None
        }


SECRETS: Final = ("feed", "gateway keys", "credentials keys", "provider api", "provider callbacks")
SECRET_BYTES: Final = 32


def has_secrets(folder: Path) -> bool:
    """Whether all of them can be read; an earlier release could be stopped between making the file and filling it."""
    return (*_known_secrets(folder),) == SECRETS


def _known_secrets(folder: Path) -> dict[str, str]:
    """Those that can be read."""
    try:
        found = installation.read_object(folder / "secrets.json")
    except (FileNotFoundError, installation.Unusable):
        return {}
    return {name: found[name] for name in SECRETS if _is_secret(found.get(name))}


def _is_secret(value: object) -> bool:
    try:
        return isinstance(value, str) and len(base64.b64decode(value, validate=True)) == SECRET_BYTES
    except ValueError:
        return False


def keep_secrets(folder: Path) -> dict[str, str]:
    """This installation's own secrets, made at its first start; readable by its owner alone."""
    path = folder / "secrets.json"
    known = _known_secrets(folder)
    made = {name: known.get(name) or base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode() for name in SECRETS}
    if made != known:
        installation.write_whole(path, made)
    return made


def build(name: str, place: Place) -> Service:
    """Build a service with its settings in this place."""
    settings = import_module(f"{name}.settings").Settings
    return cast("Service", import_module(f"{name}.app").build(settings(**place.settings(name))))


def versions_of(name: str) -> Path:
    """Where a service's migrations are."""
    return Path(str(import_module(name).__file__)).parents[1] / "migrations" / "versions"


def nowhere(assigned: dict[str, int] | None = None) -> Place:
    """A place nothing runs in, for looking at what the services would offer."""
    made: dict[str, str] = dict.fromkeys(SECRETS, base64.b64encode(bytes(32)).decode())
    databases = {name: f"postgresql+asyncpg://nobody@localhost/{name}" for name in NAMES}
    return Place(Path(".local"), assigned or ports.assign({}), databases, secrets=made)


def merged_openapi() -> dict[str, Any]:  # Any: JSON
    """The OpenAPI document the gateway serves, made without running anything."""
    place = nowhere()
    found = {name: openapi_of(name) for name in BEHIND_THE_GATEWAY}
    return merge(openapi_of("gateway"), found, load(), away=[], public_url=place.url("gateway"), release="1")


def openapi_of(name: str) -> dict[str, Any]:  # Any: JSON
    """The OpenAPI document one service serves."""
    return Process(build(name, nowhere())).api.openapi()
