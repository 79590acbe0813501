"""Signing keys. Private keys are stored wrapped; only the process that signs can unwrap them."""

import os
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_WRAPPING_KEY = 32


class Signer(Protocol):
    """Holds one key. A key in a vault or a hardware module signs behind the same three members."""

    @property
    def alg(self) -> str: ...

    @property
    def verification_method(self) -> str: ...

    def sign(self, data: bytes) -> bytes: ...


class WrappingKeyError(Exception):
    """The wrapping key does not open the stored key: a wrong setting, or a stored key that was touched."""


@dataclass(frozen=True)
class NewKey:
    """A fresh Ed25519 key: its public half, and its private half wrapped."""

    public: bytes
    wrapped: bytes


class LocalSigner:
    """An Ed25519 key in this process's memory."""

    alg = "Ed25519"

    def __init__(self, key: Ed25519PrivateKey, verification_method: str) -> None:
        self._key = key
        self.verification_method = verification_method

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def new_key(wrapping_key: bytes, verification_method: str) -> NewKey:
    """AES-256-GCM, bound to the name of the key: a wrapped key cannot be passed off as another."""
    key = Ed25519PrivateKey.generate()
    nonce = os.urandom(_NONCE)
    wrapped = nonce + _cipher(wrapping_key).encrypt(nonce, key.private_bytes_raw(), verification_method.encode())
    return NewKey(key.public_key().public_bytes_raw(), wrapped)


def unwrap(wrapped: bytes, wrapping_key: bytes, verification_method: str) -> LocalSigner:
    """Raises WrappingKeyError."""
    try:
        raw = _cipher(wrapping_key).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], verification_method.encode())
    except InvalidTag:
        raise WrappingKeyError(f"the wrapping key does not open {verification_method}") from None
    return LocalSigner(Ed25519PrivateKey.from_private_bytes(raw), verification_method)


def signed_by(public_key: bytes, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _cipher(wrapping_key: bytes) -> AESGCM:
    if len(wrapping_key) != _WRAPPING_KEY:
        raise WrappingKeyError("the wrapping key has 32 bytes")
    return AESGCM(wrapping_key)
