"""Bitstring Status List: one bit for each credential, among at least 131,072 others, so that asking reveals nobody.

Source: W3C Bitstring Status List v1.0. Bit 0 is the most significant bit of byte 0.
"""

import gzip
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from openbadges.contexts import CREDENTIALS_CONTEXT
from openbadges.errors import Invalid
from openbadges.signable import instant

LENGTH = 131_072
"""Bits in a list: the fewest the standard allows."""

_MOST_BYTES = 1 << 22
"""The size at which a stranger's list is cut off: 33 million entries."""

_MOST_MEMBERS = 16
"""The most gzip members in a stranger's list. One is usual; some programs pack what is large in pieces."""


class BadStatusList(Invalid):
    """A status list that cannot be read."""


def encode(revoked: Iterable[int]) -> str:
    """Return the encoded list in which these bits are set: gzip, then multibase base64url."""
    bits = bytearray(LENGTH // 8)
    for index in revoked:
        bits[index >> 3] |= 0x80 >> (index & 7)
    packed = gzip.compress(bytes(bits), mtime=0)  # without a time stamp, so that the same bits give the same text
    return "u" + urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def is_set(encoded: str, index: int) -> bool:
    """Return whether a bit of an encoded list is set.

    Raises BadStatusList for what is no list, one too short to hide in, or an index outside it.
    """
    bits = _decode(encoded)
    if not 0 <= index < len(bits) * 8:
        raise BadStatusList(f"position {index} is outside the list")
    return bool(bits[index >> 3] & (0x80 >> (index & 7)))


def _decode(encoded: str) -> bytes:
    if not encoded.startswith("u"):
        raise BadStatusList("the list is not in base64url")
    try:
        packed = urlsafe_b64decode(encoded[1:] + "=" * (-(len(encoded) - 1) % 4))
        bits = _unpack(packed)
    except (ValueError, zlib.error) as error:
        raise BadStatusList("the list cannot be unpacked") from error
    if len(bits) * 8 < LENGTH:
        raise BadStatusList(f"the list has fewer than {LENGTH} positions")
    return bits


def _unpack(packed: bytes) -> bytes:
    """Return the contents of a gzip file (RFC 1952), bounded in size and number of members.

    A few kilobytes can unpack to gigabytes, or be thousands of members. Raises BadStatusList.
    """
    bits = bytearray()
    for _ in range(_MOST_MEMBERS):
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
        bits += unpacking.decompress(packed, _MOST_BYTES - len(bits))
        packed = unpacking.unused_data
        if not packed or len(bits) >= _MOST_BYTES:
            return bytes(bits)
    raise BadStatusList(f"the list is packed in more than {_MOST_MEMBERS} pieces")


def status_list_document(
    url: str,
    issuer_did: str,
    revoked: Iterable[int],
    *,
    valid_from: datetime,
    valid_until: datetime,
    ttl_seconds: int,
) -> dict[str, Any]:  # Any: JSON
    """Return the unsigned status list. Only `valid_until` protects from an old list presented again."""
    return {
        "@context": [CREDENTIALS_CONTEXT],
        "id": url,
        "type": ["VerifiableCredential", "BitstringStatusListCredential"],
        "issuer": issuer_did,
        "validFrom": instant(valid_from),
        "validUntil": instant(valid_until),
        "credentialSubject": {
            "id": f"{url}#list",
            "type": "BitstringStatusList",
            "statusPurpose": "revocation",
            "ttl": ttl_seconds * 1000,
            "encodedList": encode(revoked),
        },
    }
