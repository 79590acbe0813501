"""Comprehensive Learner Record 2.0: the unsigned ClrCredential that carries signed badges, each with its own proof.

It is shared deliberately, so it names the learner; marks, which no badge carries, stand in a credential of their
own inside. Every member written here is a term of the contexts named. Source: 1EdTech CLR Standard 2.0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from credentials.domain.badges import CONTEXTS as BADGE_CONTEXTS
from credentials.domain.badges import CREDENTIALS_CONTEXT, SCHEMA_URL, Issuer, iri, text
from credentials.domain.documents import hash_of

Document = dict[str, Any]  # Any: JSON
JSON = Mapping[str, Any]  # Any: JSON

# In this order: verifiers check it. The last two are the badge's own.
CONTEXTS = (
    CREDENTIALS_CONTEXT,
    "https://purl.imsglobal.org/spec/clr/v2p0/context-2.0.1.json",
    *BADGE_CONTEXTS[1:],
)
CLR_SCHEMA_URL = "https://purl.imsglobal.org/spec/clr/v2p0/schema/json/clr_v2p0_clrcredential_schema.json"


@dataclass(frozen=True)
class Cover:
    """Under which addresses a record goes, and whom it names."""

    address: str
    subject: str
    name: str | None
    as_at: str
    """The instant it tells of."""
    status: JSON
    """Its place in a status list: that of the record and of the results in it, which stand and fall together."""


@dataclass(frozen=True)
class Part:
    """A line of the transcript with its signed badge, where there is one."""

    id: str
    badge: JSON | None
    builds: frozenset[str] = frozenset()
    """For an award: the credit it stands on."""


def is_partial(parts: Iterable[Part], *, selected: bool) -> bool:
    """A record is whole if it holds a badge for everything on the transcript."""
    return selected or any(part.badge is None for part in parts)


def inside_sha256(parts: Iterable[Part]) -> str:
    """Of what a record holds: another where a badge was signed anew, or is there now."""
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
    """The unsigned record: `valid_from` is its version.

    Courses are associated with the awards they build to. Raises NotSignable.
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


def results_document(issuer: Issuer, cover: Cover, *, valid_from: str, credits_: Iterable[JSON]) -> Document | None:
    """The unsigned statement of the marks and attempts there are, or None where there is none. Raises NotSignable."""
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
    """Associations are between achievements: the course is part of the award."""
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
