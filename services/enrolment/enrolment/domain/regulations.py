"""The part of the versioned regulations that enrolment enforces: package data, immutable once in force."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.regulations import Versions, begins


@dataclass(frozen=True)
class Regulations:
    """One version of the rules that enrolment enforces."""

    version: str
    effective_from: datetime
    activation_wait: timedelta
    """How long a paid line waits for its learner to register, its course to be known, or what stands in its way (an
    enrolment, a pass) to have ended; then the money goes back."""
    repayment: timedelta
    """How long lost money may stay away before the suspended enrolment is cancelled."""
    entitlements: Mapping[str, tuple[str, ...]]
    """Enrolment status -> what it opens. A status without a row opens nothing; `completed` keeps the materials."""

    def opened_by(self, status: str) -> tuple[str, ...]:
        return self.entitlements.get(status, ())


def parse(document: Mapping[str, Any]) -> Regulations:  # Any: JSON
    return Regulations(
        version=document["version"],
        effective_from=begins(document["effective_from"]),
        activation_wait=timedelta(hours=document["activation"]["wait_hours"]),
        repayment=timedelta(days=document["repayment"]["days"]),
        entitlements={status: tuple(names) for status, names in document["entitlements"].items()},
    )


versions = Versions("enrolment", parse)
find, in_force = versions.find, versions.in_force
