"""Our badges: what they recognise, and what they say.

A public badge carries no name, no e-mail address and no mark: the holder is a random URN, and a salted hash by which
whoever knows the holder's address can check that the badge is theirs. Every member written here is a term of the
contexts named, so nothing is left outside the signature.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any, Final

from openbadges import badges
from openbadges.signable import iri, text

Document = dict[str, Any]  # Any: JSON


class Due(StrEnum):
    """Why a badge is to be signed, or signed anew under the same id with a newer `validFrom`."""

    ISSUE = "issue"
    CORRECTION = "correction"
    """Something the badge says is different now: the new version gets another status entry, and the old one's bit is
    set."""
    ERASURE = "erasure"
    """The holder was anonymised: the hash of the address is removed. Copies already handed out stay valid."""
    COMPROMISE = "compromise"
    """The signing key was compromised and struck out, and with it whatever still carries its signature."""
    CLOCK = "clock"
    """It was signed by a clock that ran fast, so it is not valid yet; copies already handed out become valid in
    time."""


DUE_THOUGH_REVOKED: Final = frozenset({Due.COMPROMISE, Due.ERASURE})
"""Reasons to sign even a revoked badge, since it is still served: one signed with a compromised key must say that it is
revoked, and an erased address must go."""


@dataclass(frozen=True)
class Skill:
    name: str
    framework: str
    url: str


@dataclass(frozen=True)
class Achievement:
    """What a badge recognises: one frozen course version, or one title of an award."""

    url: str
    kind: str
    """Open Badges achievementType: MicroCredential, Certificate, Diploma, MasterDegree."""
    name: str
    code: str
    description: str
    criteria: str
    credits: int
    level: int
    skills: tuple[Skill, ...] = ()


@dataclass(frozen=True)
class Issuer:
    did: str
    name: str
    url: str


def is_made_out_to(badge: Mapping[str, Any], email: str) -> bool:  # Any: JSON
    """Return whether a badge of ours bears the hash of this e-mail address."""
    identities = badge["credentialSubject"].get("identifier", ())
    return any(one["identityHash"] == badges.identity_hash(email, one["salt"]) for one in identities)


def ects(credits_: int) -> str:
    """Return UK credits as ECTS credits, in figures."""
    value = Fraction(_frameworks()["ects_per_credit"]) * credits_
    return f"{float(value):g}"


def credential_name(achievement: Achievement) -> str:
    return f"{achievement.name} ({achievement.credits} credits, level {achievement.level})"


def achievement_document(achievement: Achievement, issuer: Issuer) -> Document:
    """Return the achievement as JSON, as it stands in the badge. Raises NotSignable."""
    document: Document = {
        "id": iri(achievement.url),
        "type": ["Achievement"],
        "achievementType": achievement.kind,
        "name": text(achievement.name),
        "humanCode": text(achievement.code),
        "description": text(
            f"{achievement.description}\n\n{achievement.credits} UK credits at level {achievement.level} "
            f"({ects(achievement.credits)} ECTS)."
        ),
        "creditsAvailable": achievement.credits,
        "image": {
            "id": iri(f"{achievement.url}/image.png"),
            "type": "Image",
            "caption": text(f"{achievement.name}, {achievement.credits} credits at level {achievement.level}"),
        },
        # Only the issuer's name, not the whole profile again: two identical unnamed parts slow canonicalisation down.
        "creator": {"id": iri(issuer.did), "type": ["Profile"], "name": text(issuer.name)},
        "criteria": {"narrative": text(achievement.criteria)},
    }
    alignments = [_alignment(entry) for entry in _frameworks()["levels"].get(str(achievement.level), ())]
    alignments += [_skill(skill) for skill in achievement.skills]
    if alignments:
        document["alignment"] = alignments
    return document


def badge_document(
    achievement: Mapping[str, Any],  # Any: JSON
    issuer: Issuer,
    *,
    name: str,
    credits_: int,
    credential_url: str,
    subject: str,
    valid_from: str,
    awarded: str,
    status_id: str,
    status_list_url: str,
    status_index: str,
    refresh_url: str,
    identity_hash: str | None = None,
    salt: str | None = None,
) -> Document:
    """Return the unsigned badge. `valid_from` is its version, `awarded` the instant of the award itself.

    Without `identity_hash` the holder is the random subject alone (a learner who was anonymised).
    """
    holder: Document = {"id": subject, "type": ["AchievementSubject"], "creditsEarned": credits_}
    if identity_hash is not None:
        holder["identifier"] = [
            {
                "type": "IdentityObject",
                "hashed": True,
                "identityType": "emailAddress",
                "identityHash": identity_hash,
                "salt": salt,
            }
        ]
    return badges.badge_document(
        credential_url,
        name,
        issuer={"id": issuer.did, "type": ["Profile"], "name": issuer.name, "url": issuer.url},
        subject=holder,
        achievement=achievement,
        valid_from=valid_from,
        awardedDate=awarded,
        credentialSchema=[{"id": badges.SCHEMA_URL, "type": "1EdTechJsonSchemaValidator2019"}],
        credentialStatus=badges.status_entry(status_id, status_list_url, status_index),
        refreshService={"id": refresh_url, "type": "1EdTechCredentialRefresh"},
    )


def _alignment(entry: Mapping[str, str]) -> Document:
    return {"type": ["Alignment"], **entry}


def _skill(skill: Skill) -> Document:
    return {
        "type": ["Alignment"],
        "targetName": text(skill.name),
        "targetUrl": iri(skill.url),
        "targetFramework": text(skill.framework),
        "targetType": "ceasn:Competency",
    }


@cache
def _frameworks() -> Mapping[str, Any]:  # Any: JSON
    return json.loads((files("credentials") / "data" / "frameworks.json").read_text("utf-8"))


def skills(entries: Iterable[Mapping[str, str]]) -> tuple[Skill, ...]:
    return tuple(Skill(entry["name"], entry["framework"], entry["url"]) for entry in entries)
