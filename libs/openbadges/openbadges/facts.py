"""What a credential says of itself, in the words of a page. A stranger's may leave anything out.

It is read from `ParsedCredential.document`, in which the first of several does not depend on the order a stranger
chose.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from openbadges.members import Members, id_of, listed, members
from openbadges.verification.report import Kind

_LEVELS = {"ext:QualificationLevel", "ext:CourseLevel"}
_COMPETENCY = "ceasn:Competency"
_MOST = 50
"""The most skills, results or identities shown: a page is for reading."""


@dataclass(frozen=True)
class Facts:
    """What a page shows of a credential."""

    kind: Kind
    title: str
    issuer: str
    issuer_id: str
    credential_id: str
    holder: list[str]
    awarded: datetime | None
    valid_until: datetime | None
    credits: str | None
    levels: list[str]
    code: str | None
    description: str | None
    criteria: str | None
    skills: list[str]
    results: list[tuple[str, str]]
    image: str | None
    partial: bool
    left_out: int
    """The number of entries beyond those a page has room for."""


def facts_of(document: Members, kind: Kind) -> Facts:
    """Return what a credential says; what is missing or of another shape is left out."""
    subject = members(_one(document.get("credentialSubject")))
    achievement = members(_one(subject.get("achievement")) if kind is Kind.BADGE else None)
    issuer = _one(document.get("issuer"))
    alignments = [members(entry) for entry in listed(achievement.get("alignment"))[:_MOST]]
    return Facts(
        kind=kind,
        title=_text(achievement.get("name")) or _text(document.get("name")) or _types(document),
        issuer=_text(members(issuer).get("name")) or _text(id_of(issuer)) or "",
        issuer_id=_text(id_of(issuer)) or "",
        credential_id=_text(document.get("id")) or "",
        holder=list(_names(subject)),
        awarded=_at(document, "awardedDate", "validFrom", "issuanceDate"),
        valid_until=_at(document, "validUntil", "expirationDate"),
        credits=_number(_one(subject.get("creditsEarned", achievement.get("creditsAvailable")))),
        levels=[_text(one.get("targetName")) or "" for one in alignments if _kind(one) in _LEVELS],
        code=_text(achievement.get("humanCode")),
        description=_text(achievement.get("description")) or _text(document.get("description")),
        criteria=_text(members(_one(achievement.get("criteria"))).get("narrative")),
        skills=[
            _text(one.get("targetName")) or "" for one in alignments if _text(one.get("targetType")) == _COMPETENCY
        ],
        results=list(_results(subject, achievement)),
        image=_text(id_of(_one(achievement.get("image")))),
        partial=_one(subject.get("partial")) is True or _one(document.get("partial")) is True,
        left_out=sum(
            max(0, len(listed(entries)) - most)
            for entries, most in (
                (document.get("credentialSubject"), 1),
                (subject.get("achievement"), 1),
                (achievement.get("alignment"), _MOST),
                (subject.get("identifier"), _MOST),
                (subject.get("result"), _MOST),
            )
        ),
    )


def _kind(alignment: Members) -> str | None:
    return _text(alignment.get("targetType"))


def _names(subject: Members) -> Iterator[str]:
    """Yield names given in clear: whoever shows such a credential shares them."""
    for entry in map(members, listed(subject.get("identifier"))[:_MOST]):
        if _text(entry.get("identityType")) == "name" and _one(entry.get("hashed")) is False:
            yield _text(entry.get("identityHash")) or ""


def _results(subject: Members, achievement: Members) -> Iterator[tuple[str, str]]:
    described = {
        _text(one.get("id")): _text(one.get("name"))
        for one in map(members, listed(achievement.get("resultDescription")))
    }
    for result in map(members, listed(subject.get("result"))[:_MOST]):
        value = _text(result.get("value")) or _text(result.get("status"))
        if value:
            yield described.get(_text(id_of(_one(result.get("resultDescription"))))) or "Result", value


def _one(value: object) -> object:
    """Return a single value, or the first of several."""
    return next(iter(listed(value)), None)


def _text(value: object) -> str | None:
    """Return a text; of several in different languages the one in English, as the pages are, else the first."""
    entries = listed(value)
    english = (one for one in entries if str(members(one).get("@language")).lower().startswith("en"))
    first = next(english, _one(entries))
    first = members(first).get("@value", first)
    return first.strip() or None if isinstance(first, str) else None


def _types(document: Members) -> str:
    kinds = [kind for kind in listed(document.get("type")) if isinstance(kind, str)]
    return next((kind for kind in kinds if kind != "VerifiableCredential"), "Credential")


def _number(value: object) -> str | None:
    """Return a number with every digit: one that is not shown could be changed unseen."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)


def _at(document: Members, *names: str) -> datetime | None:
    for name in names:
        value = _one(document.get(name))
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).astimezone(UTC)
            except (ValueError, OverflowError):
                continue
    return None
