"""SecretBox: small secrets in the database, encrypted with a key that is not in it."""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import Unavailable

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class SigningKeyUnreadable(Unavailable):
    """The signing key was sealed with another MC_WRAPPING_KEY: that one must come back, or the key be replaced."""

    remedy = "Try again later; whoever runs the platform is told."


class SecretBoxError(Exception):
    """The key does not open a secret: a wrong setting, or what is stored was changed."""


class SecretBox:
    """Encrypts with AES-256-GCM under a key of 32 bytes; what is sealed is bound to its name.

    Raises ValueError: the key has another length.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)

    def seal(self, secret: bytes, name: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Return the secret that was sealed under this name. Raises SecretBoxError."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):  # ValueError: too short to be sealed at all
            raise SecretBoxError(f"the wrapping key does not open {name}") from None


def derive_key(secret: bytes, purpose: str) -> bytes:
    """Return 32 bytes for one purpose, from which neither another purpose's nor the secret itself follows."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(secret)
