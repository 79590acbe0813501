"""Signing keys. Private keys are stored wrapped; only the process that signs can unwrap them."""

from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from credentials.domain.keys import Suite
from shared.secret_box import SecretBox, SecretBoxError

_COORDINATE = 32


class Signer(Protocol):
    """Signs with one key. One in a vault or a hardware module signs behind the same three members.

    `sign` may take its time and ask elsewhere: call it outside transactions and off the event loop.
    """

    @property
    def alg(self) -> str: ...

    @property
    def verification_method(self) -> str: ...

    def sign(self, data: bytes) -> bytes:
        """Return 64 bytes: an Ed25519 signature, or r and s of an ECDSA one over SHA-256."""
        ...


@dataclass(frozen=True)
class NewKey:
    """A new key: its public half, and its private half wrapped."""

    public: bytes
    """Ed25519: 32 bytes. P-256: the point uncompressed, 65 bytes."""
    wrapped: bytes


class LocalSigner:
    """An Ed25519 key in this process's memory."""

    alg = "EdDSA"

    def __init__(self, key: Ed25519PrivateKey, verification_method: str) -> None:
        self._key = key
        self.verification_method = verification_method

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class LocalEcdsaSigner:
    """A P-256 key in this process's memory."""

    alg = "ES256"

    def __init__(self, key: ec.EllipticCurvePrivateKey, verification_method: str) -> None:
        self._key = key
        self.verification_method = verification_method

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")


def new_key(secret_box: SecretBox, verification_method: str, suite: Suite | str = Suite.EDDSA_RDFC_2022) -> NewKey:
    """Make a key. The private half is wrapped under the key's name, so that keys cannot be exchanged."""
    if suite == Suite.EDDSA_RDFC_2022:
        key = Ed25519PrivateKey.generate()
        public, private = key.public_key().public_bytes_raw(), key.private_bytes_raw()
    else:
        point = ec.generate_private_key(ec.SECP256R1())
        public = point.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        private = point.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return NewKey(public, secret_box.seal(private, verification_method))


def unwrap(
    wrapped: bytes, secret_box: SecretBox, verification_method: str, suite: Suite | str = Suite.EDDSA_RDFC_2022
) -> Signer:
    """Return a signer with the wrapped key. Raises SecretBoxError."""
    raw = secret_box.open(wrapped, verification_method)
    if suite == Suite.EDDSA_RDFC_2022:
        return LocalSigner(Ed25519PrivateKey.from_private_bytes(raw), verification_method)
    key = load_der_private_key(raw, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SecretBoxError(f"{verification_method} is no elliptic curve key")
    return LocalEcdsaSigner(key, verification_method)


def signed_by(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Return whether the signature over the data is from this Ed25519 key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
