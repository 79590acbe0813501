"""Ask whether the issuer has taken a credential back.

Bitstring status lists, their forerunner of 2021, and 1EdTech's plain list are read. Source: W3C Bitstring Status List
v1.0; 1EdTech Open Badges 3.0. A list counts only if the credential's issuer signed it and its time has not run out: an
old list presented again would hide a revocation.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from openbadges.errors import BadgeError
from openbadges.members import Members, id_of, listed, members
from openbadges.status_lists import is_set
from openbadges.verification import public_keys
from openbadges.verification.issuers import issuer_of, key_of
from openbadges.verification.outside import Web
from openbadges.verification.parser import Parser
from openbadges.verification.parsing import ParsedCredential
from openbadges.verification.period import ENDS, has_ended, instant, is_said
from openbadges.verification.plain_json import read_object
from openbadges.verification.report import UNREADABLE, Broken, Check, CheckOutcome, Question, sentence

_LISTS = {
    "BitstringStatusListEntry": ("BitstringStatusListCredential", "BitstringStatusList"),
    "StatusList2021Entry": ("StatusList2021Credential", "StatusList2021"),
}
_PLAIN = "1EdTechRevocationList"
_TAKES_BACK = {"revocation": "revoked", "suspension": "suspended"}
_SAYS_NOTHING = {"refresh", "message"}
_MOST_ENTRIES = 8
_MOST_DIGITS = 9


@dataclass(frozen=True)
class _Answer:
    """The code of what was done to the credential, if anything, and a sentence about the list."""

    taken_back: str | None
    about_list: str


async def ask_lists(credential: Members, issuer: str, web: Web, parser: Parser, now: datetime) -> list[Check]:
    """Return the checks of the status list and of the credential's entry in it."""
    entries = listed(credential.get("credentialStatus"))
    try:
        answers = [await _ask(entry, credential, issuer, web, parser, now) for entry in _bounded(entries)]
    except Broken as broken:
        return [_failed(broken.detail, broken.code), _skipped()]
    except BadgeError as error:
        return [
            _failed(f"The revocation list cannot be read. {sentence(error.detail)}", "list_unreadable"),
            _skipped(),
        ]
    except UNREADABLE:
        return [_failed("The revocation list cannot be read.", "list_unreadable"), _skipped()]
    about = [answer.about_list for answer in answers if answer.about_list]
    if not about:
        return [
            Check(Question.REVOCATION_LIST, CheckOutcome.PASSED, "The issuer publishes no revocation for it."),
            Check(Question.REVOCATION, CheckOutcome.PASSED, "It cannot be revoked."),
        ]
    genuine = Check(Question.REVOCATION_LIST, CheckOutcome.PASSED, about[0])
    found = sorted({answer.taken_back for answer in answers if answer.taken_back})
    if not found:
        return [genuine, Check(Question.REVOCATION, CheckOutcome.PASSED, "The issuer has not revoked it.")]
    words = "The issuer has revoked it." if found[0] == "revoked" else "The issuer has suspended it for the time being."
    return [genuine, Check(Question.REVOCATION, CheckOutcome.FAILED, words, found[0])]


async def _ask(entry: Members, credential: Members, issuer: str, web: Web, parser: Parser, now: datetime) -> _Answer:
    kind = next((name for name in listed(entry.get("type")) if name in _LISTS or name == _PLAIN), None)
    if kind is None:
        raise Broken("status_unknown", "It can be revoked in a way that is not read here.")
    if kind == _PLAIN:
        return await _ask_plain(entry, credential, issuer, web, parser)
    purpose = entry["statusPurpose"]
    if purpose in _SAYS_NOTHING:
        return _Answer(None, "")
    if purpose not in _TAKES_BACK or int(entry.get("statusSize", 1)) != 1:
        raise Broken("status_unknown", "It can be revoked in a way that is not read here.")
    url = str(id_of(entry["statusListCredential"]))
    raw = await web.get(url, parser.limits.document_bytes)
    found = await parser.parse(raw)
    about = await _list_stands(found, _LISTS[kind], purpose, url, issuer, web, parser, now)
    parser.keep(raw, found)
    encoded = str(_subject(found)["encodedList"])
    if kind == "StatusList2021Entry":  # lacks the letter that names the encoding
        encoded = "u" + encoded.removeprefix("u").replace("+", "-").replace("/", "_")
    index = str(entry["statusListIndex"])
    if not index.isdecimal() or not index.isascii() or len(index) > _MOST_DIGITS:
        raise Broken("list_unreadable", "Its place in the revocation list cannot be read.")
    return _Answer(_TAKES_BACK[purpose] if is_set(encoded, int(index)) else None, about)


async def _list_stands(
    found: ParsedCredential,
    kinds: tuple[str, str],
    purpose: str,
    url: str,
    issuer: str,
    web: Web,
    parser: Parser,
    now: datetime,
) -> str:
    """Check that the list is signed by the same issuer, for this purpose, and not out of date; say so in a sentence.

    Raises Broken, Unreachable.
    """
    document = found.document
    if issuer_of(document) != issuer:
        raise Broken("list_of_another", "The revocation list is of another issuer.")
    if not found.readable or found.signed is None:
        raise Broken("list_not_signed", "The revocation list is not signed by the issuer.")
    key = await key_of(issuer, found.signed, web, parser.limits, now)
    if not public_keys.verifies(key, found.signed.algorithm, found.signed.data, found.signed.signature):
        raise Broken("list_not_signed", "The revocation list is not signed by the issuer.")
    subject = _subject(found)
    if document.get("id", url) != url or kinds[0] not in listed(document["type"]):
        raise Broken("list_of_another", "What was found at the list's address is another list.")
    if kinds[1] not in listed(subject.get("type")) or purpose not in listed(subject["statusPurpose"]):
        raise Broken("list_of_another", "The revocation list serves another purpose.")
    begins_at = document.get("validFrom") or document.get("issuanceDate")
    begins = None if begins_at is None else instant(begins_at)
    proof = {} if found.signed.expires is None else {"expires": found.signed.expires}
    if any(has_ended(said, now) for said in (document, found.signed.claims, proof)):
        raise Broken("list_out_of_date", "The revocation list is out of date.")
    as_of = f"as of {begins.day} {begins:%B %Y, %H:%M} UTC" if begins else "it does not say since when it holds"
    if not any(is_said(said, name) for said in (document, found.signed.claims, proof) for name in ENDS):
        return f"The issuer's own list is signed ({as_of}); it does not say until when it holds."
    return f"The issuer's own list is signed and current ({as_of})."


async def _ask_plain(entry: Members, credential: Members, issuer: str, web: Web, parser: Parser) -> _Answer:
    """Ask a plain list, which is unsigned: its address is in the signed credential, and the connection vouches for the
    rest."""
    limits = parser.limits
    found = read_object(await web.get(entry["id"], limits.document_bytes, own_word=True), limits)
    if found.get("id", entry["id"]) != entry["id"] or id_of(found.get("issuer", issuer)) != issuer:
        raise Broken("list_of_another", "What was found at the list's address is another list.")
    entries = found["revokedCredential"]
    if not isinstance(entries, list):
        raise TypeError("not a list")
    listed = cast("list[object]", entries)
    revoked = {id_of(one) for one in listed if members(one).get("revoked") is not False}
    if not all(isinstance(name, str) for name in revoked):
        raise TypeError("an entry names no credential")
    return _Answer("revoked" if credential["id"] in revoked else None, "The issuer's own list was read.")


def _bounded(entries: list[Any]) -> list[Members]:  # Any: JSON
    if len(entries) > _MOST_ENTRIES:
        raise Broken("status_unknown", "It can be revoked in more ways than are read here.")
    return entries


def _subject(found: ParsedCredential) -> Members:
    return members(found.document["credentialSubject"])


def _failed(detail: str, code: str) -> Check:
    return Check(Question.REVOCATION_LIST, CheckOutcome.FAILED, detail, code)


def _skipped() -> Check:
    return Check(Question.REVOCATION, CheckOutcome.NOT_CHECKED, "Not asked, since an earlier check failed.")
