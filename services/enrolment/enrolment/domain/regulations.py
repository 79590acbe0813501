"""The part of the versioned regulations that enrolment enforces: package data, immutable once in force."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Regulations:
    version: str
    effective_from: datetime
    activation_wait: timedelta
    """How long a paid line waits for its learner to register or its course to be known; then the money goes back."""
    repayment: timedelta
    """How long lost money may stay away before the suspended enrolment is cancelled."""
    entitlements: Mapping[str, tuple[str, ...]]
    """Enrolment status -> what it opens. A status without a row opens nothing; `completed` keeps the materials."""

    def opened_by(self, status: str) -> tuple[str, ...]:
        return self.entitlements.get(status, ())


@cache
def all_versions() -> tuple[Regulations, ...]:
    """Every version this release knows, in the order they came into force."""
    folder = files("enrolment") / "regulations"
    documents = [json.loads(file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".json")]
    return tuple(sorted(map(_read, documents), key=lambda regulations: regulations.effective_from))


def in_force(at: datetime) -> Regulations:
    """The version in force at an instant. Raises LookupError before the first one: nothing was on sale then."""
    for regulations in reversed(all_versions()):
        if regulations.effective_from <= at:
            return regulations
    message = f"no regulations were in force at {at.isoformat()}"
    raise LookupError(message)


def of_version(version: str) -> Regulations:
    """The version of that name. Raises LookupError: a pinned version stays part of every later release."""
    for regulations in all_versions():
        if regulations.version == version:
            return regulations
    message = f"no regulations are called {version}"
    raise LookupError(message)


def _read(document: Mapping[str, Any]) -> Regulations:  # Any: JSON
    return Regulations(
        version=document["version"],
        effective_from=datetime.fromisoformat(document["effective_from"]),
        activation_wait=timedelta(hours=document["activation"]["wait_hours"]),
        repayment=timedelta(days=document["repayment"]["days"]),
        entitlements={status: tuple(names) for status, names in document["entitlements"].items()},
    )
