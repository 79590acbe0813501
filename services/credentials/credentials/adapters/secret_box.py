"""SecretBox: small secrets in the database, encrypted with a key that is not in it."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12
_KEY = 32


class SecretBoxError(Exception):
    """The key does not open a secret: a wrong setting, or what is stored was changed."""


class SecretBox:
    """Encrypts with AES-256-GCM under a key of its own, derived from the wrapping key. What is sealed is bound to its
    name."""

    def __init__(self, wrapping_key: bytes) -> None:
        self._wrapping_key = wrapping_key
        self._cipher = AESGCM(self.key_for("sealed secrets"))

    def key_for(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose, from which neither another purpose's nor the wrapping key follows."""
        return HKDF(SHA256(), _KEY, salt=None, info=purpose.encode()).derive(self._wrapping_key)

    def seal(self, secret: bytes, name: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, secret, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Return the secret that was sealed under this name. Raises SecretBoxError."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())
        except InvalidTag:
            raise SecretBoxError(f"the wrapping key does not open {name}") from None
