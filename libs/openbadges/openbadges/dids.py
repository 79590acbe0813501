"""did:web: the issuer is named by its host, and publishes its keys in a document there.

Source: did:web method specification; W3C Controlled Identifiers 1.0 (Multikey).
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

Document = dict[str, Any]  # Any: JSON

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_PAIR, _TEN_DIGITS = 58**2, 58**10  # ten digits are the most that fit a machine word
_ED25519 = b"\xed\x01"


def did_of(url: str) -> str:
    """Return the did:web identifier of an address: its host, and its port and path where it has them."""
    parts = urlsplit(url)
    path = [quote(segment, safe="") for segment in parts.path.split("/") if segment]
    return ":".join(["did:web", quote(parts.netloc, safe=""), *path])


def did_document(
    did: str,
    keys: Iterable[tuple[str, str]],
    jwks: Iterable[tuple[str, Mapping[str, str]]] = (),
) -> Document:
    """Return the DID document that publishes these keys.

    `keys` are (verification method id, multikey) for embedded proofs, `jwks` (id, JSON Web Key) for tokens. All ids are
    absolute: verifiers compare whole strings.
    """
    methods: list[Document] = [
        {"id": method, "type": "JsonWebKey", "controller": did, "publicKeyJwk": dict(jwk)} for method, jwk in jwks
    ]
    methods += [
        {"id": method, "type": "Multikey", "controller": did, "publicKeyMultibase": multikey}
        for method, multikey in keys
    ]
    return {
        "@context": [
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/multikey/v1",
            "https://w3id.org/security/jwk/v1",
        ],
        "id": did,
        "verificationMethod": methods,
        "assertionMethod": [method["id"] for method in methods],
    }


def p256_jwk(point: bytes) -> dict[str, str]:
    """Return a P-256 public key (the uncompressed point, 65 bytes) as the JSON Web Key that is published for tokens."""
    x, y = (urlsafe_b64encode(half).rstrip(b"=").decode() for half in (point[1:33], point[33:65]))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def multikey(public_key: bytes) -> str:
    """Return an Ed25519 public key (32 bytes) as the multikey that is published."""
    return "z" + base58(_ED25519 + public_key)


def public_key(multikey_: str) -> bytes:
    """Return the Ed25519 public key (32 bytes) of a multikey. Raises ValueError for what is none."""
    decoded = unbase58(multikey_[1:]) if multikey_.startswith("z") else b""
    if not decoded.startswith(_ED25519) or len(decoded) != len(_ED25519) + 32:
        raise ValueError("not an Ed25519 multikey")
    return decoded[len(_ED25519) :]


def base58(data: bytes) -> str:
    # Every signature is written in base 58, so speed matters: only one long division for each ten digits.
    number, pairs = int.from_bytes(data, "big"), list[str]()
    while number:
        number, word = divmod(number, _TEN_DIGITS)
        pairs.append(_PAIRS[word % _PAIR])
        word //= _PAIR
        pairs.append(_PAIRS[word % _PAIR])
        word //= _PAIR
        pairs.append(_PAIRS[word % _PAIR])
        word //= _PAIR
        pairs.append(_PAIRS[word % _PAIR])
        pairs.append(_PAIRS[word // _PAIR])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(pairs)).lstrip("1")


def unbase58(value: str) -> bytes:
    """Return the bytes of a base-58 text. Raises ValueError for characters outside the alphabet."""
    number = 0
    for digit in value:
        number = number * 58 + _ALPHABET.index(digit)
    zeros = len(value) - len(value.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
