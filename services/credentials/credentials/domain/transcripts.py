"""The transcript: what a learner holds as at an instant, and the hash that pins it."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from credentials.domain.badges import instant

Document = dict[str, Any]  # Any: JSON


def content(learner_id: str, credits_: Iterable[Mapping[str, Any]], awards: Iterable[Mapping[str, Any]]) -> Document:
    """What a transcript says, apart from its version and instant. The total is of ratified credit."""
    held = sorted(credits_, key=lambda entry: (entry["ratified_at"], entry["credit_id"]))
    return {
        "learner_id": learner_id,
        "credits": held,
        "total_credits": sum(entry["credits"] for entry in held),
        "awards": sorted(awards, key=lambda entry: (entry["conferred_at"], entry["award_id"])),
    }


def issue(said: Document, version: int, as_at: datetime) -> Document:
    return {"version": version, "as_at": instant(as_at), **said}


def hash_of(document: Document) -> str:
    """SHA-256, in hex, of the document as JSON with sorted members and no spaces, in UTF-8 (RFC 8785 for these)."""
    packed = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(packed.encode("utf-8")).hexdigest()
