"""Keyed digests: stored to recognise something again, and of no use to whoever has only the database.

A plain digest of what can be guessed (an address, a name, a form) gives it away to whoever guesses. Of a password not
even a keyed digest is stored: only argon2id. The one exception: a token that was drawn at random, of 128 bits and more,
cannot be guessed, so its plain SHA-256 may be stored (refresh tokens, secrets of partners: `gateway.domain.sessions`).
"""

import hmac
from hashlib import sha256
from typing import Final, TypedDict


class Argon2id(TypedDict):
    """Arguments of argon2.PasswordHasher; `memory_cost` in KiB."""

    time_cost: int
    memory_cost: int
    parallelism: int


ARGON2ID: Final[Argon2id] = {"time_cost": 2, "memory_cost": 19_456, "parallelism": 1}
"""How passwords and PINs are hashed: OWASP's minimum."""


class Digests:
    """HMAC-SHA-256 with a key of this installation and service, made from a secret that is in no database."""

    def __init__(self, secret: str, service: str) -> None:
        self._key = hmac.digest(secret.encode(), f"stored digests of {service}".encode(), sha256)

    def of(self, *parts: bytes) -> bytes:
        """Return the digest of these parts, one after the other."""
        made = hmac.new(self._key, digestmod=sha256)
        for part in parts:
            made.update(part)
        return made.digest()
