"""Keyed digests: what is stored to recognise something again, of no use to whoever has only the database.

A plain digest of what can be guessed (an address, a name, a form) is the thing itself to whoever guesses. Of a password
not even this is stored: only argon2id. Random tokens of 128 bits and more cannot be guessed, and need no key.
"""

import hmac
from hashlib import sha256


class Digests:
    """HMAC-SHA-256 with a key of this installation and service, made from a secret that is in no database."""

    def __init__(self, secret: str, service: str) -> None:
        self._key = hmac.digest(secret.encode(), f"stored digests of {service}".encode(), sha256)

    def of(self, *parts: bytes) -> bytes:
        """The digest of these parts, one after the other."""
        made = hmac.new(self._key, digestmod=sha256)
        for part in parts:
            made.update(part)
        return made.digest()
