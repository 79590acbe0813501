"""View models of documents: what is shown, in words and in order, the same on paper, on the screen and read aloud.

Layouts (paper/*.typ, templates/*.html) place these strings and add no fact of their own.
"""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from credentials.domain import days
from credentials.domain.badges import ects
from credentials.domain.documents import DocumentKind

ViewModel = dict[str, Any]  # Any: JSON
JSON = Mapping[str, Any]  # Any: JSON

_HEADINGS = {
    DocumentKind.TRANSCRIPT: "Transcript",
    DocumentKind.CERTIFICATE: "Certificate of credit",
    DocumentKind.PARCHMENT: "Award",
}
_REPLACED = "A later version has taken the place of this one. The address below tells of it."
# Han characters are drawn differently in each of these languages; a name in them is set in the likelier one.
_LANGUAGES = (("HIRAGANA", "ja"), ("KATAKANA", "ja"), ("HANGUL", "ko"), ("CJK UNIFIED", "zh"))


def view_model(
    kind: DocumentKind, content: JSON, *, issuer: str, number: str, address: str, sha256: str, is_newest: bool
) -> ViewModel:
    """Return everything a layout needs, in words. `content` is an edition as it was hashed."""
    return {
        "kind": kind.value,
        "heading": _HEADINGS[kind],
        "title": f"{_HEADINGS[kind]} {number}",
        "issuer": issuer,
        "initials": initials(issuer),
        "name": content["name"],
        "name_lang": language_of(content["name"]),
        "name_is_rtl": is_rtl(content["name"]),
        "number": number,
        "version": content["version"],
        "as_at": minute(content["as_at"]),
        "address": address,
        "sha256": sha256,
        "nonce": content.get("nonce"),
        "superseded": _superseded(content) if is_newest else _REPLACED,
        **_OWN[kind](content),
    }


def heading(kind: DocumentKind) -> str:
    return _HEADINGS[kind]


def public_facts(kind: DocumentKind, certified: JSON) -> list[tuple[str, str]]:
    """Return what a document's page shows to anybody who has its number."""
    if kind is DocumentKind.CERTIFICATE:
        facts = [
            ("Course", certified["course_title"]),
            ("Credit", _credit(certified["credits"], certified["level"])),
            ("Course code", certified["course_code"]),
            ("Taught by", certified.get("institution")),
            ("Ratified on", day(certified["ratified_at"])),
        ]
    elif kind is DocumentKind.PARCHMENT:
        facts = [
            ("Award", certified["title"]),
            ("Credit", f"{certified['credits']} credits"),
            ("Conferred on", day(certified["conferred_at"])),
        ]
    else:
        facts = [("Awards", "; ".join(certified["awards"])), ("Courses", "; ".join(certified["courses"]))]
    return [(label, value) for label, value in facts if value]


def headline(kind: DocumentKind, content: JSON) -> str:
    """Return what a document certifies, in a line."""
    if kind is DocumentKind.TRANSCRIPT:
        return _summary(content)
    return content["course_title"] if kind is DocumentKind.CERTIFICATE else content["title"]


def honours(kind: DocumentKind, content: JSON) -> str | None:
    """Return the class where the document prints it, else None."""
    if kind is not DocumentKind.PARCHMENT or content["mark"] is None:
        return None
    return content["classification"]


def is_printed(kind: DocumentKind, content: JSON, name: str, honours_: str) -> bool:
    """Return whether just this name and class (or no class) stand on the document, however they were typed."""
    printed = (content["name"], honours(kind, content) or "")
    return [_as_typed(text) for text in printed] == [_as_typed(text) for text in (name, honours_)]


def _as_typed(text: str) -> list[str]:
    """Return the words of a text without regard to capitals, punctuation and ways to write one letter (Unicode
    NFKC)."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kinds = ((letter, unicodedata.category(letter)) for letter in folded)
    letters = (letter if kind[0] in "LMN" else " " for letter, kind in kinds if kind != "Cf")
    return [word for word in "".join(letters).split() if word != "with"]


def day(value: str) -> str:
    """Return the day of a stored instant as people write it."""
    return days.in_words(days.day_of(datetime.fromisoformat(value)))


def minute(value: str) -> str:
    """Return a stored instant to the minute, as people write it, in UTC."""
    at = datetime.fromisoformat(value).astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def initials(issuer: str) -> str:
    """Return the initials of an issuer; for University of London, UoL."""
    return "".join(word[0] for word in issuer.split() if word.casefold() != "the")[:4]


def language_of(name: str) -> str | None:
    """Return the language a name is surely or likely in, where letterforms depend on it."""
    scripts = [unicodedata.name(letter, "") for letter in name]
    return next((lang for script, lang in _LANGUAGES if any(one.startswith(script) for one in scripts)), None)


def is_rtl(name: str) -> bool:
    """Return whether a name is written from the right, by its first letter, as browsers decide (Unicode UAX #9, P2)."""
    directions = (unicodedata.bidirectional(letter) for letter in name)
    return next((one for one in directions if one in {"L", "R", "AL"}), "L") != "L"


def _superseded(content: JSON) -> str | None:
    if not content.get("superseded_at"):
        return None
    higher = f" by the award of {content['superseded_by']}" if content.get("superseded_by") else ""
    return f"Superseded on {day(content['superseded_at'])}{higher}, which builds on the same credit."


def _transcript(content: JSON) -> ViewModel:
    return {
        "summary": _summary(content),
        "awards": [_award_row(entry) for entry in content["awards"]],
        "credits": [_credit_row(entry) for entry in content["credits"]],
        "total": f"{content['total_credits']} credits in all ({ects(content['total_credits'])} ECTS)",
        "notes": "Marks are out of 100. Results that no board of examiners has ratified are not shown.",
    }


def _certificate(content: JSON) -> ViewModel:
    facts = [
        ("Credit", _credit(content["credits"], content["level"])),
        ("Subject", content["subject"]),
        ("Course code", content["course_code"]),
        ("Taught by", content.get("institution")),
        ("Ratified on", day(content["ratified_at"])),
    ]
    return {"course": content["course_title"], "facts": [fact for fact in facts if fact[1]]}


def _parchment(content: JSON) -> ViewModel:
    return {
        "award": content["title"],
        "honours": honours(DocumentKind.PARCHMENT, content),
        "credit": f"{content['credits']} credits",
        "conferred": day(content["conferred_at"]),
    }


_OWN = {
    DocumentKind.TRANSCRIPT: _transcript,
    DocumentKind.CERTIFICATE: _certificate,
    DocumentKind.PARCHMENT: _parchment,
}


def _summary(content: JSON) -> str:
    parts = [_count(content["total_credits"], "credit"), _count(len(content["credits"]), "course")]
    if content["awards"]:
        parts.append(_count(len(content["awards"]), "award"))
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _credit(credits_: int, level: int) -> str:
    return f"{credits_} UK credits at level {level} ({ects(credits_)} ECTS)"


def _award_row(entry: JSON) -> ViewModel:
    return {
        "title": entry["title"],
        "note": _superseded(entry),
        "classification": entry["classification"],
        "conferred": day(entry["conferred_at"]),
        "number": entry["certificate_number"],
    }


def _credit_row(entry: JSON) -> ViewModel:
    own = entry["mark"] is not None
    return {
        "course": entry["course_title"],
        "detail": " · ".join(filter(None, (entry["course_code"], entry.get("institution")))),
        "subject": entry["subject"],
        "credits": str(entry["credits"]),
        "level": str(entry["level"]),
        "mark": entry["mark"] if own else "recognised",
        "attempt": str(entry["attempt"]) if own else "none",
        "ratified": day(entry["ratified_at"]),
    }
