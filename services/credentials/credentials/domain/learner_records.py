"""Comprehensive Learner Record 2.0: the unsigned ClrCredential that carries signed badges, each with its own proof.

It is shared deliberately, so it names the learner, unless they held their name back: then it carries none of their
badges, but restates what those recognise. Marks, which no badge carries, stand in a credential of their own inside.
Every member written here is a term of the contexts named. Source: 1EdTech CLR Standard 2.0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from credentials.domain.badges import Issuer
from credentials.domain.documents import hash_of
from openbadges.badges import CONTEXTS as BADGE_CONTEXTS
from openbadges.badges import SCHEMA_URL
from openbadges.contexts import CREDENTIALS_CONTEXT
from openbadges.signable import iri, text

Document = dict[str, Any]  # Any: JSON
JSON = Mapping[str, Any]  # Any: JSON

# Verifiers check this order. The last two are the badge's own.
CONTEXTS = (
    CREDENTIALS_CONTEXT,
    "https://purl.imsglobal.org/spec/clr/v2p0/context-2.0.1.json",
    *BADGE_CONTEXTS[1:],
)
CLR_SCHEMA_URL = "https://purl.imsglobal.org/spec/clr/v2p0/schema/json/clr_v2p0_clrcredential_schema.json"


def is_within(address: str) -> bool:
    """Return whether an address is that of a credential inside a learner record of ours, which ends with the record."""
    return "#" in address


@dataclass(frozen=True)
class Cover:
    """The addresses, the holder and the status entry of a learner record."""

    address: str
    subject: str
    name: str | None
    as_at: str
    """The instant that the record is as at."""
    status: JSON
    """The status entry of the record and of the results in it, which are revoked together."""


@dataclass(frozen=True)
class Part:
    """A line of the transcript with its signed badge, where there is one."""

    id: str
    badge: JSON | None
    builds: frozenset[str] = frozenset()
    """Of an award: the ids of the credit it stands on."""


def is_partial(parts: Iterable[Part], *, selected: bool) -> bool:
    """Return whether a record lacks a badge for anything on the transcript."""
    return selected or any(part.badge is None for part in parts)


def inside_sha256(parts: Iterable[Part]) -> str:
    """Return a hash of the badges in a record; it changes when a badge is signed anew, or is there for the first
    time."""
    return hash_of({part.id: part.badge and part.badge["proof"][0]["proofValue"] for part in parts})


def record_document(
    issuer: Issuer,
    cover: Cover,
    *,
    valid_from: str,
    parts: Sequence[Part],
    results: JSON | None,
    partial: bool,
) -> Document:
    """Return the unsigned record: `valid_from` is its version, and courses are associated with the awards they build
    to.

    Raises NotSignable.
    """
    document: Document = {
        "@context": list(CONTEXTS),
        "id": iri(cover.address),
        "type": ["VerifiableCredential", "ClrCredential"],
        "name": text(f"Transcript of {issuer.name}"),
        "issuer": _profile(issuer),
        "validFrom": valid_from,
        "awardedDate": cover.as_at,
        "credentialSubject": {
            "id": iri(cover.subject),
            "type": ["ClrSubject"],
            "verifiableCredential": [
                *(dict(part.badge) for part in parts if part.badge is not None),
                *([dict(results)] if results is not None else []),
            ],
        },
        "credentialSchema": [{"id": CLR_SCHEMA_URL, "type": "1EdTechJsonSchemaValidator2019"}],
        "credentialStatus": dict(cover.status),
    }
    if cover.name is not None:
        document["credentialSubject"]["identifier"] = [
            {"type": "IdentityObject", "hashed": False, "identityHash": text(cover.name), "identityType": "name"}
        ]
    associations = list(_associations(parts))
    if associations:
        document["credentialSubject"]["association"] = associations
    if partial:
        document["partial"] = True
    return document


def restated(part: Part, cover: Cover, *, valid_from: str) -> Document | None:
    """Return what a part's badge recognises, unsigned, said of the record's subject; None where it is not signed yet.

    Nothing in it leads to the badge or its holder.
    """
    if part.badge is None:
        return None
    kept = {name: member for name, member in part.badge.items() if name not in {"proof", "refreshService"}}
    subject = {name: member for name, member in part.badge["credentialSubject"].items() if name != "identifier"}
    return {
        **kept,
        "id": iri(f"{cover.address}#{part.id}"),
        "validFrom": valid_from,
        "credentialSubject": {**subject, "id": iri(cover.subject)},
        "credentialStatus": dict(cover.status),
    }


def results_document(issuer: Issuer, cover: Cover, *, valid_from: str, credits_: Iterable[JSON]) -> Document | None:
    """Return the unsigned statement of marks and attempts, or None where there are none. Raises NotSignable."""
    address, subject = cover.address, cover.subject
    described: list[Document] = []
    results: list[Document] = []
    for entry in credits_:
        course = f"{entry['course_title']} ({entry['course_code']})"
        mark, attempt = f"{address}#mark-{entry['credit_id']}", f"{address}#attempt-{entry['credit_id']}"
        if entry["mark"] is not None:
            described.append({**_described(mark, f"Mark: {course}", "Percent"), "valueMin": "0", "valueMax": "100"})
            results.append(_result(mark, entry["mark"]))
        if entry["attempt"] is not None:
            described.append(_described(attempt, f"Attempt: {course}", "RawScore"))
            results.append(_result(attempt, str(entry["attempt"])))
    if not results:
        return None
    return {
        "@context": list(BADGE_CONTEXTS),
        "id": iri(f"{address}#results"),
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": "Statement of results",
        "issuer": _profile(issuer),
        "validFrom": valid_from,
        "credentialSubject": {
            "id": iri(subject),
            "type": ["AchievementSubject"],
            "achievement": {
                "id": iri(f"{address}#statement"),
                "type": ["Achievement"],
                "achievementType": "Assessment",
                "name": "Statement of results",
                "description": "Marks and attempts of courses on the transcript.",
                "creator": {"id": iri(issuer.did), "type": ["Profile"], "name": text(issuer.name)},
                "criteria": {"narrative": "Marks out of 100, as ratified by the board of examiners."},
                "resultDescription": described,
            },
            "result": results,
        },
        "credentialSchema": [{"id": SCHEMA_URL, "type": "1EdTechJsonSchemaValidator2019"}],
        "credentialStatus": dict(cover.status),
    }


def _associations(parts: Sequence[Part]) -> Iterable[Document]:
    """Yield an association for each course of an award: the course's achievement is part of the award's."""
    achievements = {part.id: _achievement(part.badge) for part in parts if part.badge is not None}
    for award in parts:
        for credit_id in sorted(award.builds):
            if award.id in achievements and credit_id in achievements:
                yield {
                    "type": "Association",
                    "associationType": "isPartOf",
                    "sourceId": achievements[credit_id],
                    "targetId": achievements[award.id],
                }


def _achievement(badge: JSON) -> str:
    return badge["credentialSubject"]["achievement"]["id"]


def _profile(issuer: Issuer) -> Document:
    return {"id": iri(issuer.did), "type": ["Profile"], "name": text(issuer.name), "url": iri(issuer.url)}


def _described(id_: str, name: str, kind: str) -> Document:
    return {"id": iri(id_), "type": ["ResultDescription"], "name": text(name), "resultType": kind}


def _result(description: str, value: str) -> Document:
    return {"type": ["Result"], "resultDescription": description, "value": value, "status": "Completed"}
