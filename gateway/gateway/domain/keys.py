"""Signing keys: one is published before it signs, one signs, retired ones verify until their tokens have expired."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.clock import later
from shared.errors import Conflict


class KeyState(StrEnum):
    """Where a signing key of access tokens stands: published and not signing yet, signing, or signing no more."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"


class KeyInUse(Conflict):
    """The signing key is withdrawn by rotating first."""


@dataclass(frozen=True, slots=True)
class Key:
    kid: str
    state: KeyState
    retired_at: datetime | None = None
    withdrawn_at: datetime | None = None
    """When the key was taken back, e.g. because it leaked: nothing it signed is trusted any more."""


def published(key: Key, now: datetime, longest_token: timedelta) -> bool:
    """Whether the key set shows the key: until the last token it signed has expired.

    `longest_token` is the life of a token with the verifiers' leeway.
    """
    if key.withdrawn_at is not None:
        return False
    return key.retired_at is None or now < later(key.retired_at, longest_token)
