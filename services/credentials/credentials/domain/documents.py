"""Documents for people: their kinds, how an edition is pinned, and why one is not handed out."""

import json
import re
import secrets
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from openbadges.signable import instant
from shared.errors import Conflict, Gone, TooMany

Content = dict[str, Any]  # Any: JSON

NUMBER: Final = r"^MC-\d{4}-[0-9A-Z]{11}$"
_TYPED: Final = re.compile(r"\bMC ?([0-9]{4}) ?((?:[0-9A-Z] ?){10}[0-9A-Z])(?![0-9A-Z])")
"""As a regular expression."""

_BYTES_OF_PDF = b"%PDF-"


class DocumentKind(StrEnum):
    """What a document certifies: all results (`transcript`), the credit for one course (`certificate`), or an
    award (`parchment`)."""

    TRANSCRIPT = "transcript"
    CERTIFICATE = "certificate"
    PARCHMENT = "parchment"


class DocumentStatus(StrEnum):
    """What became of what a document certifies; whether an edition is the newest is another question."""

    VALID = "valid"
    SUPERSEDED = "superseded"
    """A higher award took up its credit; the award still stands on record."""
    REVOKED = "revoked"


class DocumentRevoked(Gone):
    """What it certified was taken back, so it is no longer handed out."""

    remedy = "Do not rely on the document; ask its holder for one that stands."


class DocumentErased(Gone):
    """Its holder was anonymised; what it said is not kept."""

    remedy = "Nothing is left here to compare or hand out; the number can still be checked."


class EarlierName(Gone):
    """That edition was made out to a name no longer in use. The newest edition takes its place."""

    remedy = "Take the newest edition, which leaves out `version`."


class TooManyComparisons(TooMany):
    """Name or class were not the same too often; after a pause they can be compared again."""


class NothingSigned(Conflict):
    """A learner record holds at least one signed badge; these are still being signed, or there are none."""

    remedy = "Ask again in a minute; before the first badge there is no record."


class RecordChanging(Conflict):
    """The transcript changed again and again while its learner record was being signed."""

    remedy = "Ask again in a minute."


def new_nonce() -> str:
    """Return 128 random bits in hex, so that the hash of an edition does not confirm a guess at what it says."""
    return secrets.token_hex(16)


def edition(said: Mapping[str, Any], version: int, as_at: datetime, nonce: str | None) -> Content:  # Any: JSON
    """Return the document as it is hashed: what it says, its version, and the instant it is as at.

    Editions made before there were nonces have none.
    """
    salted = {} if nonce is None else {"nonce": nonce}
    return {"version": version, "as_at": instant(as_at), **salted, **said}


def said_hash(said: Mapping[str, Any], nonce: str) -> str:  # Any: JSON
    """Return the hash of what an edition says, without its version, its instant and the institutions.

    The release before decides by it whether there is anything new to say.
    """
    return hash_of({"nonce": nonce, **said})


def hash_of(document: Mapping[str, Any]) -> str:  # Any: JSON
    """Return the SHA-256, in hex, of a document as JSON with sorted members and no spaces, in UTF-8 (RFC 8785 for
    these)."""
    packed = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(packed.encode("utf-8")).hexdigest()


def taught(said: Mapping[str, Any], institutions: Mapping[str, str]) -> Content:  # Any: JSON
    """Return the document with the institution at which each course is taught, where it is known.

    `institutions` are by credit id.
    """
    content = dict(said)
    if said.get("credit_id") in institutions:
        content["institution"] = institutions[said["credit_id"]]
    if said.get("awards") is not None:  # a transcript: its credits are entries of their own
        content["credits"] = [taught(entry, institutions) for entry in said["credits"]]
    return content


def check_status(status: DocumentStatus) -> None:
    """Check that a document may be handed out: what is merely superseded is, and says so. Raises DocumentRevoked."""
    if status is DocumentStatus.REVOKED:
        raise DocumentRevoked("what this document certified was taken back")


def check_name(content: Mapping[str, Any], name: str | None) -> None:  # Any: JSON
    """Check that an earlier edition bears the name in use; otherwise only the newest is handed out. Raises
    EarlierName."""
    if content["name"] != name:
        raise EarlierName("that edition was made out to an earlier name; the newest one takes its place")


def number_of(typed: str) -> str | None:
    """Return a document's number as it is printed, from what somebody typed; None where there is no number in it.

    Any signs may stand between its parts, any words around it, and letters may be small; O, I and L, which no number
    has, are read as digits.
    """
    words = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", typed)).upper().translate(str.maketrans("OIL", "011"))
    found = _TYPED.search(words)
    return f"MC-{found[1]}-{found[2].replace(' ', '')}" if found else None


def is_pdf(start: bytes) -> bool:
    return start.startswith(_BYTES_OF_PDF)


def digest(file: bytes) -> str:
    return sha256(file).hexdigest()
