"""Signing keys: made, and kept by whoever uses them; encrypt the private half before you store it."""

from dataclasses import dataclass, field
from enum import StrEnum
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

from openbadges import dids


class Suite(StrEnum):
    """What a key signs: embedded proofs, or JSON Web Tokens."""

    EDDSA_RDFC_2022 = "eddsa-rdfc-2022"
    ES256 = "ES256"


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
    """A new key."""

    public: bytes
    """Ed25519: 32 bytes. P-256: the point uncompressed, 65 bytes."""
    private: bytes = field(repr=False)
    """Ed25519: 32 bytes. P-256: PKCS 8 in DER."""


class LocalSigner:
    """An Ed25519 key in this process's memory."""

    alg = "EdDSA"

    def __init__(self, key: Ed25519PrivateKey, verification_method: str) -> None:
        self._key = key
        self.verification_method = verification_method

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class DidKeySigner(LocalSigner):
    """A key that is its own issuer: whoever has the badge has all that is needed to verify it.

    Nothing more is known of such an issuer than the key, and a lost key cannot be replaced.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        multikey = dids.multikey(key.public_key().public_bytes_raw())
        self.did = f"did:key:{multikey}"
        super().__init__(key, f"{self.did}#{multikey}")


class LocalEcdsaSigner:
    """A P-256 key in this process's memory."""

    alg = "ES256"

    def __init__(self, key: ec.EllipticCurvePrivateKey, verification_method: str) -> None:
        self._key = key
        self.verification_method = verification_method

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")


def new_key(suite: Suite | str = Suite.EDDSA_RDFC_2022) -> NewKey:
    """Make a key."""
    if suite == Suite.EDDSA_RDFC_2022:
        key = Ed25519PrivateKey.generate()
        return NewKey(key.public_key().public_bytes_raw(), key.private_bytes_raw())
    point = ec.generate_private_key(ec.SECP256R1())
    return NewKey(
        point.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        point.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    )


def new_did_key() -> DidKeySigner:
    """Return a new Ed25519 key that is its own issuer, for trials and tests: it is nowhere stored."""
    return DidKeySigner(Ed25519PrivateKey.generate())


def signer_with(private: bytes, verification_method: str, suite: Suite | str = Suite.EDDSA_RDFC_2022) -> Signer:
    """Return a signer with a private key, as `new_key` gives it. Raises ValueError for another kind of key."""
    if suite == Suite.EDDSA_RDFC_2022:
        return LocalSigner(Ed25519PrivateKey.from_private_bytes(private), verification_method)
    key = load_der_private_key(private, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{verification_method} is no elliptic curve key")  # noqa: TRY004 - the bytes are wrong
    return LocalEcdsaSigner(key, verification_method)


def signed_by(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Return whether the signature over the data is from this Ed25519 key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
