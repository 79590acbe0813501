"""Identifiers: UUIDv7, so that rows created together lie together on disk, or derived ones. Never used for order."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

import uuid_utils.compat

from shared.clock import LAST_INSTANT


def new_id() -> UUID:
    """Return a new UUIDv7."""
    return uuid_utils.compat.uuid7()


def id_of(kind: str, *of: UUID) -> UUID:
    """Return the id of the one thing of this kind for these ids: made anew, on a restored database, it is the same."""
    return uuid5(_DERIVED, "/".join([kind, *map(str, of)]))


_DERIVED: Final = UUID("6f1d2a52-9d0b-4c38-8a3e-0c5f6d8b7e21")


def made_at(id_: UUID) -> datetime:
    """Return when a UUIDv7 was made, to the millisecond, by the clock of the process that made it.

    LAST_INSTANT for one that is no UUIDv7, and of a later time by its digits.
    """
    seconds = (id_.int >> 80) / 1000
    return datetime.fromtimestamp(seconds, UTC) if seconds < LAST_INSTANT.timestamp() else LAST_INSTANT
