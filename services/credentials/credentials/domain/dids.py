"""did:web: the issuer's name is its host, its keys are a document there.

Source: did:web method specification; W3C Controlled Identifiers 1.0 (Multikey).
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

Document = dict[str, Any]  # Any: JSON

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_ED25519 = b"\xed\x01"


def did_of(url: str) -> str:
    """The did:web identifier of an address: its host, and port and path where it has them."""
    parts = urlsplit(url)
    path = [quote(segment, safe="") for segment in parts.path.split("/") if segment]
    return ":".join(["did:web", quote(parts.netloc, safe=""), *path])


def did_document(did: str, keys: Iterable[tuple[str, str]]) -> Document:
    """`keys` are (verification method id, multikey). Plain absolute ids: verifiers compare whole strings."""
    methods = [
        {"id": method, "type": "Multikey", "controller": did, "publicKeyMultibase": multikey}
        for method, multikey in keys
    ]
    return {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "verificationMethod": methods,
        "assertionMethod": [method["id"] for method in methods],
    }


def multikey(public_key: bytes) -> str:
    """An Ed25519 public key (32 bytes) as it is published."""
    return "z" + base58(_ED25519 + public_key)


def public_key(multikey_: str) -> bytes:
    """Raises ValueError for what is no Ed25519 multikey."""
    decoded = unbase58(multikey_[1:]) if multikey_.startswith("z") else b""
    if not decoded.startswith(_ED25519) or len(decoded) != len(_ED25519) + 32:
        raise ValueError("not an Ed25519 multikey")
    return decoded[len(_ED25519) :]


def base58(data: bytes) -> str:
    number, pairs = int.from_bytes(data, "big"), list[str]()
    while number:
        number, pair = divmod(number, 58 * 58)  # two digits a division: every signature is written so
        pairs.append(_PAIRS[pair])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(pairs)).lstrip("1")


def unbase58(value: str) -> bytes:
    """Raises ValueError for characters outside the alphabet."""
    number = 0
    for digit in value:
        number = number * 58 + _ALPHABET.index(digit)
    zeros = len(value) - len(value.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
