"""Documents for people: their kinds, how an edition is pinned, and why one is not handed out."""

import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from credentials.domain.badges import instant
from shared.errors import Conflict, Gone, TooMany

Content = dict[str, Any]  # Any: JSON

NUMBER: Final = r"^MC-\d{4}-[0-9A-Z]{11}$"
"""As a regular expression."""

_BYTES_OF_PDF = b"%PDF-"


class DocumentKind(StrEnum):
    TRANSCRIPT = "transcript"
    CERTIFICATE = "certificate"
    """Of the credit for one course."""
    PARCHMENT = "parchment"
    """Of an award."""


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
    """128 random bits in hex: whoever has the hash of an edition, and guesses what it says, learns nothing."""
    return secrets.token_hex(16)


def edition(said: Mapping[str, Any], version: int, as_at: datetime, nonce: str) -> Content:  # Any: JSON
    """The document as it is hashed: what it says, in which version, as at which instant."""
    return {"version": version, "as_at": instant(as_at), "nonce": nonce, **said}


def said_hash(said: Mapping[str, Any], nonce: str | None) -> str:  # Any: JSON
    """Of what it says alone. Editions of before there were nonces have none."""
    return hash_of(said if nonce is None else {"nonce": nonce, **said})


def hash_of(document: Mapping[str, Any]) -> str:  # Any: JSON
    """SHA-256, in hex, of the document as JSON with sorted members and no spaces, in UTF-8 (RFC 8785 for these)."""
    packed = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(packed.encode("utf-8")).hexdigest()


def taught(said: Mapping[str, Any], places: Mapping[str, str]) -> Content:  # Any: JSON
    """The document with the institution at which each course is taught, by credit id, as far as that is known."""
    content = dict(said)
    if said.get("credit_id") in places:
        content["institution"] = places[said["credit_id"]]
    if said.get("awards") is not None:  # a transcript: its credits are entries of their own
        content["credits"] = [taught(entry, places) for entry in said["credits"]]
    return content


def check_status(status: DocumentStatus) -> None:
    """Raises DocumentRevoked. What is merely superseded is handed out, and says so."""
    if status is DocumentStatus.REVOKED:
        raise DocumentRevoked("what this document certified was taken back")


def check_name(content: Mapping[str, Any], name: str | None) -> None:  # Any: JSON
    """An earlier edition is handed out only while it bears the name in use. Raises EarlierName."""
    if content["name"] != name:
        raise EarlierName("that edition was made out to an earlier name; the newest one takes its place")


def number_of(typed: str) -> str | None:
    """The number as it is printed, however it was typed: letters that are read alike are not in it."""
    number = re.sub(r"\s", "", typed).upper().translate(str.maketrans("OIL", "011"))
    return number if re.fullmatch(NUMBER, number) else None


def is_pdf(start: bytes) -> bool:
    return start.startswith(_BYTES_OF_PDF)


def digest(file: bytes) -> str:
    return sha256(file).hexdigest()
