"""The services of one deployment: their names, addresses and settings, and how each is built."""

import base64
import json
import secrets
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from embedded import installation, ports
from embedded.people import ROLES, address_of
from embedded.workspace import BEHIND_THE_GATEWAY, NAMES
from gateway.documents.openapi import merge
from gateway.edge.routes import load
from shared.origins import LOOPBACK
from shared.process import Process
from shared.service import Service

PROVIDER: Final = "payment provider"
INTERNALS: Final = "gateway internals"
"""The gateway's own event log and metrics, which its public port does not show."""


@dataclass(frozen=True)
class Deployment:
    """Where one platform runs: its folder, its ports, its databases and, if there is one, its broker."""

    folder: Path
    ports: dict[str, int]
    databases: dict[str, str]
    amqp_url: str | None = None
    origins: tuple[str, ...] = LOOPBACK
    """Origins whose pages may call, and to which payers may be sent back."""
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    ample: bool = True
    """Whether its PostgreSQL has 200 connections for one replica of each service."""

    def url(self, name: str) -> str:
        """Return a service's address as people see it."""
        return f"http://localhost:{self.ports[name]}"

    def address(self, name: str) -> str:
        """Return a service's address for our own programs: `localhost` may lead to [::1], where others may listen."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def feeds(self) -> dict[str, str]:
        """The address of each service's event feed."""
        return {source: self.address(source) for source in BEHIND_THE_GATEWAY} | {"gateway": self.address(INTERNALS)}

    def settings(self, name: str) -> dict[str, Any]:  # Any: each setting's own type
        """Return the settings of one service, as its Settings class takes them."""
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
        """Return the settings of one service as environment variables, for a process of its own."""
        return {
            f"MC_{key.upper()}": json.dumps(value) if isinstance(value, dict | list) else str(value)
            for key, value in self.settings(name).items()
            if value is not None
        }


SECRETS: Final = ("feed", "gateway keys", "credentials keys", "provider api", "provider callbacks")
SECRET_BYTES: Final = 32


def has_secrets(folder: Path) -> bool:
    """Whether all secrets can be read; an earlier release could be stopped between making the file and filling it."""
    return (*_known_secrets(folder),) == SECRETS


def _known_secrets(folder: Path) -> dict[str, str]:
    """Return the secrets that can be read, by name."""
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
    """Return this installation's own secrets; those missing are made and stored, readable by its owner alone."""
    path = folder / "secrets.json"
    known = _known_secrets(folder)
    made = {name: known.get(name) or base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode() for name in SECRETS}
    if made != known:
        installation.write_whole(path, made)
    return made


def build(name: str, deployment: Deployment) -> Service:
    """Build a service with its settings in this deployment."""
    settings = import_module(f"{name}.settings").Settings
    return cast("Service", import_module(f"{name}.app").build(settings(**deployment.settings(name))))


def versions_of(name: str) -> Path:
    """Return the folder of a service's migrations."""
    return Path(str(import_module(name).__file__)).parents[1] / "migrations" / "versions"


def nowhere(assigned: dict[str, int] | None = None) -> Deployment:
    """Return a deployment in which nothing runs, for reading what the services would offer."""
    made: dict[str, str] = dict.fromkeys(SECRETS, base64.b64encode(bytes(32)).decode())
    databases = {name: f"postgresql+asyncpg://nobody@localhost/{name}" for name in NAMES}
    return Deployment(Path(".local"), assigned or ports.assign({}), databases, secrets=made)


def merged_openapi() -> dict[str, Any]:  # Any: JSON
    """Return the OpenAPI document the gateway serves, made without running anything."""
    deployment = nowhere()
    found = {name: openapi_of(name) for name in BEHIND_THE_GATEWAY}
    return merge(openapi_of("gateway"), found, load(), away=[], public_url=deployment.url("gateway"), release="1")


def openapi_of(name: str) -> dict[str, Any]:  # Any: JSON
    """Return the OpenAPI document one service serves."""
    return Process(build(name, nowhere())).api.openapi()
