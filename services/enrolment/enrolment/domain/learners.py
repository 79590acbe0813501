"""The rules of the short form: names in any script, a country, a date of birth."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

from shared.errors import Conflict, Forbidden, Invalid, NotFound


class AlreadyRegistered(Conflict):
    """One account is one learner."""

    remedy = "Read and change what you gave with `GET` and `PATCH /v1/learners/me`."


class NotRegistered(NotFound):
    """The account has not filled in the short form."""

    remedy = "Register first: `POST /v1/learners` takes the short form."


class OwnErasure(Forbidden):
    """Nobody erases themselves: a registrar looks first at what speaks against it."""

    remedy = "Ask another registrar."


class UnknownCountry(Invalid):
    """A country is named by its ISO 3166-1 alpha-2 code."""

    remedy = "Give the two letters of ISO 3166-1, such as GB."


class ImplausibleDateOfBirth(Invalid):
    """A date of birth lies in the past, within a human life."""

    remedy = "Mend the date of birth."


class EmptyName(Invalid):
    """A name needs at least one letter."""

    remedy = "Give a name with at least one letter."


class UnfitCharacter(Invalid):
    """A name has no digits, and nothing that cannot be seen or turns the direction of what is read."""

    remedy = "Write the name with letters, spaces and the signs of names; leave out what `detail` names."


class OtherCertificateName(Invalid):
    """Certificates write the name's words, in any order, or another script. A registrar decides about other words:
    register without, then POST /v1/name-requests."""

    remedy = "Use the name's own words; for others register without and `POST /v1/name-requests`."


class NameOnDocuments(Conflict):
    """A name under which work was handed in, or that stands on documents, changes by a registrar's decision alone."""

    remedy = "Ask for the new name with `POST /v1/name-requests`."


class StillEnrolled(Conflict):
    """Somebody who studies with us, or may again, is not anonymised: the enrolments end first."""

    remedy = "Withdraw from the enrolments first, or wait until they end."


OLDEST_YEARS = 120


@dataclass(frozen=True, slots=True)
class PersonName:
    """The legal name as the person writes it; somebody with a single name gives it as the family name.

    `certificate_name` is how it is written on certificates, in any script and order; None: given name, family name.
    """

    family_name: str
    given_name: str | None
    display_name: str
    certificate_name: str | None = None

    def stands_as(self, other: "PersonName") -> bool:
        """Return whether documents would bear the same name."""
        return (self.family_name, self.given_name, self.certificate_name) == (
            other.family_name,
            other.given_name,
            other.certificate_name,
        )


def person_name(
    family_name: str, given_name: str | None, display_name: str | None, certificate_name: str | None = None
) -> PersonName:
    """Return a name in one Unicode form, so that the same name is the same bytes. Raises EmptyName, UnfitCharacter."""
    family, given, display, certificate = map(_normal, (family_name, given_name, display_name, certificate_name))
    if not _has_letter(family) or not all(map(_has_letter, filter(None, (given, display, certificate)))):
        raise EmptyName("a name needs at least one letter")
    for name in (family, given, display, certificate):
        _must_be_seen(name)
    return PersonName(family, given or None, display or f"{given} {family}".strip(), certificate or None)


def rename(used: PersonName, changes: Mapping[str, str | None]) -> PersonName:
    """Return the name with the parts that were sent. A display name made of the others follows them.

    Raises EmptyName, UnfitCharacter.
    """
    made = person_name(used.family_name, used.given_name, None).display_name
    return person_name(
        changes.get("family_name") or used.family_name,
        changes.get("given_name", used.given_name),
        changes.get("display_name", None if used.display_name == made else used.display_name),
        changes.get("certificate_name", used.certificate_name),
    )


def must_write_the_name(name: PersonName) -> None:
    """Check that the certificate name is the name in another order or script. Raises OtherCertificateName."""
    if name.certificate_name is None:
        return
    given, family = _words(name.given_name or ""), _words(name.family_name)
    own, scripts = [*given, *family], _scripts(f"{name.given_name or ''} {name.family_name}")
    # What is written in another script, beside or instead of the name, is taken for the same name.
    written = [word for word in _words(name.certificate_name) if _scripts(word) & scripts or not _scripts(word)]
    is_joined = "".join(written) in {"".join(own), "".join([*family, *given])}  # as Chinese names are
    if written and sorted(written) != sorted(own) and not is_joined:
        raise OtherCertificateName(
            "a certificate name of other words is decided by a registrar: POST /v1/name-requests"
        )


_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
# Of scripts in which a joiner changes how the letters beside it are written (Unicode core specification, 23.2).
_JOINED = frozenset(
    {
        "ARABIC",
        "SYRIAC",
        "MONGOLIAN",
        "NKO",
        "DEVANAGARI",
        "BENGALI",
        "GURMUKHI",
        "GUJARATI",
        "ORIYA",
        "TAMIL",
        "TELUGU",
        "KANNADA",
        "MALAYALAM",
        "SINHALA",
        "KHMER",
        "MYANMAR",
        "TIBETAN",
    }
)
# Letters and marks that show nothing (Unicode's Default_Ignorable_Code_Point beside category Cf), and an empty symbol.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SELECTORS = ("VARIATION SELECTOR", "MONGOLIAN FREE VARIATION SELECTOR")


def _must_be_seen(name: str) -> None:
    for before, character in zip(" " + name, name, strict=False):
        kind = unicodedata.category(character)
        if character in _JOINERS and _script(before) in _JOINED:
            continue
        is_hidden = kind[0] == "C" or character in _BLANK or unicodedata.name(character, "").startswith(_SELECTORS)
        if is_hidden or kind in {"Nd", "No"}:
            raise UnfitCharacter(f"a name has no U+{ord(character):04X}: no digits, and nothing that cannot be seen")


def _script(character: str) -> str:
    """Return a character's script, which is the first word of its Unicode name: LATIN, CJK, ARABIC."""
    return unicodedata.name(character, "").split(" ")[0]


def _scripts(text: str) -> set[str]:
    return {_script(letter) for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter)[0] == "L"}


def _words(name: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(one if unicodedata.category(one)[0] in "LMC" else " " for one in folded).split()


def _normal(name: str | None) -> str:
    return " ".join(unicodedata.normalize("NFC", name or "").split())


def _has_letter(name: str) -> bool:
    return any(unicodedata.category(character).startswith("L") for character in name)


@cache
def countries() -> frozenset[str]:
    """Return the ISO 3166-1 alpha-2 codes in use."""
    return frozenset(json.loads((files("enrolment") / "countries.json").read_text("utf-8")))


def must_be_country(code: str) -> None:
    """Check that a country code is in use. Raises UnknownCountry."""
    if code not in countries():
        raise UnknownCountry(f"{code} is no ISO 3166-1 alpha-2 code")


def must_be_plausible(date_of_birth: date, today: date) -> None:
    """Check that a date of birth lies in the past, within a human life. Raises ImplausibleDateOfBirth."""
    if not today.year - OLDEST_YEARS <= date_of_birth.year or date_of_birth >= today:
        raise ImplausibleDateOfBirth("a date of birth lies in the past, within a human life")
