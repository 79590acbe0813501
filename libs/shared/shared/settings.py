"""The settings every service has; a service subclasses them, builds them once in app.py, imports them nowhere else."""

import base64
import os
import sys
from collections.abc import Callable
from typing import Annotated, Final, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from shared.origins import listed_origins
from shared.smtp import Smtp

PREFIX = "MC_"
WRAPPING_KEY_BYTES: Final = 32
WRONG_USAGE: Final = 2
"""The exit status of a command whose arguments or settings are missing or wrong, as argparse has it."""

S = TypeVar("S", bound=BaseSettings)


def _origins(given: object) -> object:
    return listed_origins(given) if isinstance(given, str) else given


OriginList = Annotated[list[str], NoDecode, BeforeValidator(_origins)]


def _wrapping_key(given: SecretStr) -> SecretStr:
    text = given.get_secret_value()
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    # One spelling alone: what follows from the text is then the same as what follows from the bytes.
    if len(key) != WRAPPING_KEY_BYTES or base64.b64encode(key).decode() != text:
        raise ValueError(f"must be {WRAPPING_KEY_BYTES} random bytes in base64: `openssl rand -base64 32` makes them")
    return given


WrappingKey = Annotated[SecretStr, AfterValidator(_wrapping_key)]
"""Encrypts what is stored and must be kept secret: 32 random bytes, in base64."""


class ServiceSettings(BaseSettings):
    """Read from the environment, `MC_<NAME>`; an unknown `MC_` variable stops the start (a typo is not a default)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # what a wrong setting held may be a secret
    )

    database_url: str = Field(description="postgresql+asyncpg://… of this service's own database")
    amqp_url: str | None = Field(default=None, description="RabbitMQ; absent only in embedded mode")
    public_url: str = Field(default="http://localhost:8000", description="Address of the gateway as people see it")
    issuer: str = Field(default="http://localhost:8000", description="Exact `iss` of accepted access tokens")
    audience: str = Field(default="microcredentials", description="Exact `aud` of accepted access tokens")
    jwks_url: str = Field(
        default="http://localhost:8000/.well-known/jwks.json",
        description="Where the token issuer publishes its keys",
    )
    feed_secret: SecretStr = Field(description="Shared by the services: opens /internal/events and /internal/registers")
    feeds: dict[str, str] = Field(
        default_factory=dict,
        description='Base URL of each service\'s feed and directory, as JSON: {"payments": "http://payments:8000"}',
    )
    origins: OriginList = Field(
        default_factory=list,
        description="Web origins of front ends: their pages may call, and payers may be sent back to them",
    )
    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - a container listens on its own network
        description="Address of the network interface it listens at",
    )
    port: int = Field(default=8000, description="Port it listens at")
    pool_size: int = Field(default=3, ge=1, description="Connections to the database for requests")
    messaging_pool_size: int = Field(default=2, ge=1, description="Connections for inbox, feed, e-mail and jobs")
    pool_timeout_seconds: float = Field(default=5.0, description="How long a request waits for one, before a 503")
    drain_seconds: float = Field(default=25.0, description="How long SIGTERM waits for requests under way")
    unready_seconds: float = Field(
        default=0.0,
        description="How long readiness says 503 before the door closes (endpoint removal is asynchronous)",
    )
    event_log_years: int = Field(
        default=10, ge=1, description="A part of the event log that ended longer ago may be detached: `outbox detach`"
    )
    log_level: str = Field(default="INFO", description="The least level that is logged, as Python's logging names it")
    smtp_url: str | None = Field(
        default=None,
        description="smtp://host:port or smtps://user:password@host, percent-encoded; otherwise e-mails go to "
        "mail_folder",
    )
    mail_folder: str = Field(default=".local/mail", description="Where e-mails are written as files without smtp_url")
    mail_from: str = Field(
        default="Microcredentials <no-reply@microcredentials.example>", description="The sender of every e-mail"
    )
    contact: str = Field(
        default="help@microcredentials.example",
        description="E-mail address of whoever runs this installation: in every e-mail, on `/`, on pages of problems",
    )
    release: str = Field(default="development", description="What is deployed, for logs and health")

    @field_validator("smtp_url")
    @classmethod
    def _a_mail_server(cls, url: str | None) -> str | None:
        if url is not None:
            Smtp.parse(url)
        return url

    @model_validator(mode="after")
    def _no_unknown_variables(self) -> Self:
        known = {PREFIX + name.upper() for name in type(self).model_fields} | set(self.foreign_variables())
        unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
        if unknown:
            message = f"unknown settings: {', '.join(unknown)}"
            raise ValueError(message)
        return self

    @classmethod
    def foreign_variables(cls) -> set[str]:
        """`MC_` variables that other programs of the platform read in the same environment."""
        return {"MC_PORT", "MC_DATA", "MC_SHARED_DATA", "MC_ENV", "MC_FAILPOINT"}


def read_settings(settings: Callable[..., S]) -> S:
    """Return a program's settings, from its environment; where variables are missing or wrong, print a line that names
    them and exit with WRONG_USAGE."""
    try:
        return settings()
    except ValidationError as error:
        wrong = [
            (_variable(one["loc"]), "is missing" if one["type"] == "missing" else one["msg"]) for one in error.errors()
        ]
    except SettingsError as error:  # a variable's JSON cannot be read
        wrong = [("", str(error))]
    missing = ", ".join(name for name, what in wrong if what == "is missing")
    problems = [f"missing: {missing}"] if missing else []
    problems += [f"{name}: {what}".removeprefix(": ") for name, what in wrong if what != "is missing"]
    sys.stderr.write(f"settings: {' '.join('; '.join(problems).split())}\n")
    sys.exit(WRONG_USAGE)


def _variable(location: tuple[int | str, ...]) -> str:
    return f"{PREFIX}{location[0]}".upper() if location else ""
