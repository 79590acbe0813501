"""Identifiers: UUIDv7, so that rows created together lie together on disk. Never used for order."""

from datetime import UTC, datetime
from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    return uuid_utils.compat.uuid7()


def made_at(id_: UUID) -> datetime:
    """When one of our ids was made, to the millisecond, by the clock of the process that made it."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)
