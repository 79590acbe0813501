"""Identifiers: UUIDv7, so that rows created together lie together on disk. Never used for order."""

from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    return uuid_utils.compat.uuid7()
