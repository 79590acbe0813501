"""Open Badges 3.0: the unsigned AchievementCredential, and what it may say.

A public badge carries no name, no address and no mark: the holder is a random URN, known only to us.
Every member written here is a term of the contexts named, so nothing is left outside the signature.
Source: 1EdTech Open Badges 3.0; W3C Verifiable Credentials 2.0.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

from shared.errors import Invalid

Document = dict[str, Any]  # Any: JSON

CREDENTIALS_CONTEXT = "https://www.w3.org/ns/credentials/v2"
CONTEXTS = (
    CREDENTIALS_CONTEXT,
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
    # Defines 1EdTechJsonSchemaValidator2019; without it the schema's type would be an undefined term.
    "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json",
)
SCHEMA_URL = "https://purl.imsglobal.org/spec/ob/v3p0/schema/json/ob_v3p0_achievementcredential_schema.json"

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]+")


class NotSignable(Invalid):
    """Canonicalisers differ on control characters and bad addresses: not everyone would sign the same."""


@dataclass(frozen=True)
class Skill:
    name: str
    framework: str
    url: str


@dataclass(frozen=True)
class Achievement:
    """What is recognised: one frozen course version, or one title of an award."""

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


def text(value: str) -> str:
    """Raises NotSignable for control characters other than tab and line ends."""
    if _CONTROL.search(value):
        raise NotSignable("control characters cannot be signed")
    return value


def iri(value: str) -> str:
    """Raises NotSignable for what is no absolute IRI: it would vanish from the signed statement."""
    if not _IRI.fullmatch(value):
        raise NotSignable(f"{value!r} is not an absolute address")
    return value


def instant(at: datetime) -> str:
    """RFC 3339 in UTC, whole seconds: the form in which it is signed."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ects(credits_: int) -> str:
    value = Fraction(_frameworks()["ects_per_credit"]) * credits_
    return f"{float(value):g}"


def credential_name(achievement: Achievement) -> str:
    return f"{achievement.name} ({achievement.credits} credits, level {achievement.level})"


def achievement_document(achievement: Achievement, issuer: Issuer) -> Document:
    """The Achievement as it stands in the badge."""
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
        # Only its name, not its whole profile again: two identical unnamed parts slow canonicalisation down.
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
) -> Document:
    """The unsigned credential. `valid_from` is its version, `awarded` the instant of the award itself."""
    return {
        "@context": list(CONTEXTS),
        "id": credential_url,
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": name,
        "issuer": {"id": issuer.did, "type": ["Profile"], "name": issuer.name, "url": issuer.url},
        "validFrom": valid_from,
        "awardedDate": awarded,
        "credentialSubject": {
            "id": subject,
            "type": ["AchievementSubject"],
            "creditsEarned": credits_,
            "achievement": dict(achievement),
        },
        "credentialSchema": [{"id": SCHEMA_URL, "type": "1EdTechJsonSchemaValidator2019"}],
        "credentialStatus": {
            "id": status_id,
            "type": "BitstringStatusListEntry",
            "statusPurpose": "revocation",
            "statusListIndex": status_index,
            "statusListCredential": status_list_url,
        },
    }


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
