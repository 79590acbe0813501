"""Public keys as others publish them, and the signatures they verify.

Source: W3C Controlled Identifiers 1.0 (Multikey, JsonWebKey); RFC 7517, 7518, 8037.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, cast

import jwt
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import Algorithm, get_default_algorithms

from openbadges.dids import unbase58
from openbadges.members import listed

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

ALGORITHMS = ("EdDSA", "ES256", "ES384", "RS256")
"""The algorithms we verify; RS256 and ES256 are those that Open Badges asks of every verifier."""

_SMALLEST_RSA, _LARGEST_RSA = 2048, 4096
_LARGEST_EXPONENT = 1 << 32
"""Keys have 65537; an exponent as long as the modulus takes three hundred times the work."""
_MULTIKEYS = {
    b"\xed\x01": (32, None),
    b"\x80\x24": (33, ec.SECP256R1),
    b"\x81\x24": (49, ec.SECP384R1),
}
_JWK_MEMBERS = {"OKP": ("kty", "crv", "x"), "EC": ("kty", "crv", "x", "y"), "RSA": ("kty", "n", "e")}
_CURVES = {"Ed25519", "P-256", "P-384"}
_LONGEST = 200
"""In characters of a multibase key, since the time to decode grows with their square."""


class UnusableKey(ValueError):
    """Not a key, or of a kind we do not read."""


def from_multibase(text: str) -> PublicKey:
    """Return the key of a Multikey. Raises UnusableKey."""
    if not text.startswith("z") or len(text) > _LONGEST:
        raise UnusableKey("not a multikey")
    try:
        decoded = unbase58(text[1:])
        length, curve = _MULTIKEYS[decoded[:2]]
        if len(decoded) != length + 2:
            raise UnusableKey("not a multikey")
        if curve is None:
            return ed25519.Ed25519PublicKey.from_public_bytes(decoded[2:])
        return ec.EllipticCurvePublicKey.from_encoded_point(curve(), decoded[2:])
    except (KeyError, ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey("not a multikey") from error


def from_jwk(jwk: Mapping[str, Any]) -> PublicKey:  # Any: JSON
    """Return the public half of a JWK, whatever else that holds. Raises UnusableKey."""
    uses = {str(use) for use in listed(jwk.get("key_ops", "verify"))}
    if jwk.get("use", "sig") != "sig" or not {"verify", "sign"} & uses:
        raise UnusableKey("a JWK that is for something else than signing")
    names = _JWK_MEMBERS.get(str(jwk.get("kty")), ())
    public = {name: jwk.get(name) for name in names}
    if not names or not all(isinstance(value, str) for value in public.values()):
        raise UnusableKey("not a JWK of a kind we read")
    if public.get("crv", "P-256") not in _CURVES or len(json.dumps(public)) > 16 * _LONGEST:
        raise UnusableKey("not a JWK of a kind we read")
    try:
        key: object = jwt.PyJWK({**public}, algorithm=_algorithm_of_jwk(public)).key
    except (jwt.PyJWTError, ValueError, KeyError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKey("not a JWK of a kind we read") from error
    if not isinstance(key, PublicKey):
        raise UnusableKey("not a JWK of a kind we read")
    if isinstance(key, rsa.RSAPublicKey):
        if not _SMALLEST_RSA <= key.key_size <= _LARGEST_RSA:
            raise UnusableKey(f"an RSA key has {_SMALLEST_RSA} to {_LARGEST_RSA} bits")
        if key.public_numbers().e > _LARGEST_EXPONENT:
            raise UnusableKey("an RSA key with an exponent that makes work and nothing safer")
    return key


def from_did_jwk(did: str) -> PublicKey:
    """Return the key that a did:jwk is. Raises UnusableKey."""
    encoded = did.removeprefix("did:jwk:")
    try:
        jwk: object = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError) as error:
        raise UnusableKey("not a did:jwk") from error
    if not isinstance(jwk, dict):
        raise UnusableKey("not a did:jwk")
    return from_jwk(cast("dict[str, Any]", jwk))  # Any: JSON


def algorithm_of(key: PublicKey) -> str:
    """Return the one algorithm a key signs with, so that a signature cannot choose another. Raises UnusableKey."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "EdDSA"
    if isinstance(key, rsa.RSAPublicKey):
        return "RS256"
    match key.curve.name:
        case "secp256r1":
            return "ES256"
        case "secp384r1":
            return "ES384"
        case _:
            raise UnusableKey("a curve we do not read")


def verifies(key: PublicKey, algorithm: str, data: bytes, signature: bytes) -> bool:
    """Return whether the key made this signature, with its own algorithm and no other."""
    try:
        if algorithm not in ALGORITHMS or algorithm_of(key) != algorithm:
            return False
        how: Algorithm = get_default_algorithms()[algorithm]
        return bool(how.verify(data, cast("Any", key), signature))  # Any: PyJWT types each algorithm's own key
    except (InvalidSignature, ValueError):
        return False


def same(one: PublicKey, other: PublicKey) -> bool:
    return one == other


def _algorithm_of_jwk(public: Mapping[str, Any]) -> str:  # Any: JSON
    return {"RSA": "RS256", "OKP": "EdDSA"}.get(public["kty"]) or ("ES384" if public["crv"] == "P-384" else "ES256")
