"""What a document says and what exactly was signed: everything that takes computing and asks nobody.

It runs on the bytes of strangers, in a process of its own (`sandbox_pool`). Nothing is re-serialised: what is hashed is
the document as it was read.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256, sha384
from importlib.resources import files
from typing import Any, cast

from jsonschema import Draft202012Validator

from openbadges import json_ld
from openbadges.dids import unbase58
from openbadges.errors import BadgeError, Invalid
from openbadges.meaning import in_terms
from openbadges.members import id_of, listed, members
from openbadges.verification import jose, reading
from openbadges.verification.limits import Limits
from openbadges.verification.plain_json import read_object
from openbadges.verification.report import UNREADABLE, Broken, Check, CheckOutcome, Kind, Question, sentence

Document = dict[str, Any]  # Any: JSON

_SUITES = {"eddsa-rdfc-2022", "eddsa-2022", "ecdsa-rdfc-2019"}
_VC_1, _VC_2 = "https://www.w3.org/2018/credentials/v1", "https://www.w3.org/ns/credentials/v2"
_BADGES = {"OpenBadgeCredential", "AchievementCredential"}
_ENVELOPED = {"application/vc+jwt", "application/jwt", "application/vc+ld+json+jwt"}
_LONGEST_SIGNATURE = 200
"""In characters of base 58, since the time to decode grows with their square."""


class TooManyParts(Invalid):
    """More credentials in one than any transcript holds."""

    remedy = "Send the credentials one by one."


class Unreadable(Invalid):
    """A member of the document has a form that no credential may have."""

    remedy = "Send the credential as its issuer gave it."


class TooCostly(Invalid):
    """Understanding this document takes more time or memory than any honest one needs."""

    remedy = "Ask whoever issued the document for a plainer one."


@dataclass(frozen=True)
class Signed:
    """What somebody signed, ready to be checked with a key."""

    algorithm: str
    method: str | None
    """A verification method or `kid`, by which the key is found."""
    data: bytes
    signature: bytes
    jwk: Document | None = None
    """A key that came with it; it proves nothing until the issuer is seen to publish it."""
    claims: Document = field(default_factory=dict[str, Any])
    """The claims of a JWT that say when it begins and ends to be valid: `nbf`, `exp`."""
    expires: str | None = None
    """When an embedded proof expires."""


@dataclass(frozen=True)
class ParsedCredential:
    """What one credential says, the checks that need nobody else, and the signed bytes where those passed."""

    kind: Kind
    document: Document
    checks: list[Check]
    signed: Signed | None = None
    unsigned: Check | None = None
    """Why there is no signature to check."""
    parts: list["ParsedCredential"] = field(default_factory=list["ParsedCredential"])

    @property
    def readable(self) -> bool:
        return all(check.outcome is not CheckOutcome.FAILED for check in self.checks)


def parse(raw: bytes, limits: Limits) -> ParsedCredential:
    """Return what a document says. Raises what reading and parsing raise; any other fault is among the checks."""
    given = reading.read(raw, limits)
    count = _Count(limits.inner_credentials)
    if given.is_jwt:
        return _parse_jwt(given.text, limits, count)
    try:
        return _read_object(read_object(given.text, limits), limits, count)
    except Broken as broken:
        return _unread(broken.code, broken.detail)


class _Count:
    """The number of credentials in a document, at all depths."""

    def __init__(self, most: int) -> None:
        self.left = most

    def take(self, more: int) -> None:
        self.left -= more
        if self.left < 0:
            raise TooManyParts("the document holds more credentials than any transcript")


def _parse_jwt(token: bytes, limits: Limits, count: _Count) -> ParsedCredential:
    parsed = jose.split(token, limits)
    document = cast("Document", in_terms(parsed.credential))
    kind = _kind(document)
    checks = [
        ask(Question.SCHEMA, lambda: _has_shape(document, kind)),
        ask(Question.TERMS, lambda: "The signature covers the document letter by letter."),
    ]

    def signed() -> Signed:
        jose.check_header(parsed.header)
        jose.check_claims(parsed.header, parsed.claims, document)
        if document.get("proof"):
            raise Broken("several_proofs", "It carries a second proof within; which of them counts is not said.")
        header = parsed.header
        claims = {name: parsed.claims[name] for name in ("nbf", "exp") if name in parsed.claims}
        return Signed(header["alg"], header.get("kid"), parsed.data, parsed.signature, header.get("jwk"), claims)

    return _parsed(kind, document, list(_parts(document)), checks, signed, limits, count)


def _parse_json(given: Document, limits: Limits, count: _Count) -> ParsedCredential:
    """Return what a JSON document says, read from what is signed; from what was uploaded only where that is refused."""
    read: list[json_ld.Statement] = []

    def terms() -> str:
        json_ld.check_terms(given, most_bytes=limits.document_bytes)
        read.append(json_ld.Statement({name: member for name, member in given.items() if name != "proof"}))
        return "The signature covers everything the credential says."

    covered = ask(Question.TERMS, terms)
    document = given
    if read:
        document = {"@context": given["@context"], **read[0].says}
    kind = _kind(document)
    checks = [ask(Question.SCHEMA, lambda: _has_shape(document, kind)), covered]
    return _parsed(kind, document, list(_parts(given)), checks, lambda: _embedded(given, read[0]), limits, count)


def _parsed(
    kind: Kind,
    document: Document,
    entries: list[object],
    checks: list[Check],
    sign: Callable[[], Signed],
    limits: Limits,
    count: _Count,
) -> ParsedCredential:
    if any(check.outcome is CheckOutcome.FAILED for check in checks):
        return ParsedCredential(kind, document, checks)
    signed: list[Signed] = []

    def find() -> str:
        signed.append(sign())
        return ""

    unsigned = ask(Question.PROOF, find)
    if not signed:
        checks = [_of_no_signature if check.name is Question.TERMS else check for check in checks]
    count.take(len(entries))
    parts = [_parse_part(entry, limits, count) for entry in entries]
    if signed:
        return ParsedCredential(kind, document, checks, signed=signed[0], parts=parts)
    return ParsedCredential(kind, document, checks, unsigned=unsigned, parts=parts)


_of_no_signature = Check(
    Question.TERMS, CheckOutcome.NOT_CHECKED, "Not asked, since there is no signature that can be read."
)


def _parse_part(entry: object, limits: Limits, count: _Count) -> ParsedCredential:
    """Return what a credential within says: JSON, a JWT, or enveloped. A part that cannot be read says so itself."""
    try:
        return _read_part(entry, limits, count)
    except TooManyParts:
        raise
    except Broken as broken:
        code, detail = broken.code, broken.detail
    except BadgeError as error:
        code, detail = error.code, sentence(error.detail)
    except UNREADABLE:
        code, detail = "unreadable", "It cannot be read."
    return _unread(code, detail)


def _unread(code: str, detail: str) -> ParsedCredential:
    return ParsedCredential(Kind.OTHER, {}, [Check(Question.SCHEMA, CheckOutcome.FAILED, detail, code)])


def _read_part(entry: object, limits: Limits, count: _Count) -> ParsedCredential:
    if isinstance(entry, Mapping):
        return _read_object(dict(members(cast("object", entry))), limits, count)
    return _read_token(str(entry), limits, count)


def _read_object(document: Document, limits: Limits, count: _Count) -> ParsedCredential:
    """Return what JSON says: itself, or the token in its envelope, of which nothing else is read: nobody signed it."""
    envelope: object = document.get("id")
    kinds = listed(members(in_terms({"type": document.get("type")})).get("type"))
    if "EnvelopedVerifiableCredential" not in kinds or not isinstance(envelope, str):
        return _parse_json(document, limits, count)
    return _read_token(_out_of_envelope(envelope), limits, count)


def _read_token(token: str, limits: Limits, count: _Count) -> ParsedCredential:
    given = reading.read(token.encode(), limits)
    if not given.is_jwt:
        raise reading.NotCredential("what the document holds is no credential")
    return _parse_jwt(given.text, limits, count)


def _out_of_envelope(address: str) -> str:
    """Return the token in a `data:` URL (RFC 2397). Raises Broken for one of another media type."""
    head, _, token = address.partition(",")
    scheme, _, rest = head.partition(":")
    kind, *parameters = (part.strip().lower() for part in rest.split(";"))
    if scheme.lower() != "data" or kind not in _ENVELOPED or "base64" in parameters:
        raise Broken("envelope_unknown", f"It comes in a form that is not read here ({head[:80]}).")
    return token


def _parts(document: Document) -> Iterator[object]:
    for subject in listed(document.get("credentialSubject")):
        yield from listed(members(subject).get("verifiableCredential"))


def _kind(document: Document) -> Kind:
    types = {name for name in listed(document.get("type")) if isinstance(name, str)}
    if "ClrCredential" in types:
        return Kind.TRANSCRIPT
    return Kind.BADGE if types & _BADGES else Kind.OTHER


_NAMES = {
    Kind.BADGE: ("open_badge", "It is an Open Badges 3.0 credential."),
    Kind.TRANSCRIPT: ("transcript", "It is a Comprehensive Learner Record 2.0."),
    Kind.OTHER: ("credential", "It is a verifiable credential."),
}


def _has_shape(document: Document, kind: Kind) -> str:
    name, sentence = _NAMES[kind]
    error = next(iter(_schema(name).iter_errors(document)), None)  # pyright: ignore[reportUnknownMemberType] - jsonschema's own types are partial
    if error is not None:
        said = error.message.replace(repr(error.instance), "what stands there")  # the instance may be half the document
        raise Broken("schema_mismatch", f"At {error.json_path[:100]}: {said[:200]}")
    if "VerifiableCredential" not in listed(document["type"]):
        raise Broken("schema_mismatch", "It is not a verifiable credential.")
    first = listed(document["@context"])[0]
    if first not in {_VC_1, _VC_2}:
        raise Broken("schema_mismatch", "Its first context is not that of verifiable credentials.")
    return sentence


def _embedded(given: Document, statement: json_ld.Statement) -> Signed:
    """Return the one Data Integrity proof, with what it signs. Raises Broken."""
    proofs = listed(given.get("proof"))
    if not proofs:
        raise Broken("no_proof", "It is not signed.")
    if len(proofs) > 1:
        raise Broken("several_proofs", "It has more than one proof; which of them counts is not said.")
    options = {name: member for name, member in members(proofs[0]).items() if name != "proofValue"}
    signed_options = json_ld.Statement({**options, "@context": given["@context"]})
    proof = signed_options.says
    kinds = listed(proof.get("type"))
    suite = proof.get("cryptosuite") if kinds == ["DataIntegrityProof"] else next(iter(kinds), None)
    if len(kinds) != 1 or suite not in {*_SUITES, "Ed25519Signature2020"}:
        raise Broken("suite_unknown", f"It is signed in a way that is not read here ({str(suite)[:60]}).")
    if proof.get("proofPurpose") != "assertionMethod":
        raise Broken("purpose_refused", "Its signature was not made to assert anything.")
    signature = _signature(members(proofs[0]).get("proofValue"))
    hash_, algorithm = sha256, "EdDSA"
    if suite == "ecdsa-rdfc-2019":
        hash_, algorithm = (sha256, "ES256") if len(signature) == 64 else (sha384, "ES384")  # noqa: PLR2004 - P-256's
    data = signed_options.digest(hash_) + statement.digest(hash_)
    method, expires = id_of(proof.get("verificationMethod")), proof.get("expires")
    if not isinstance(method, str | None) or not isinstance(expires, str | None):
        raise Broken("signature_mismatch", "Its signature cannot be read.")
    return Signed(algorithm, method, data, signature, expires=expires)


def _signature(value: object) -> bytes:
    if not isinstance(value, str) or not value.startswith("z") or len(value) > _LONGEST_SIGNATURE:
        raise Broken("signature_mismatch", "Its signature cannot be read.")
    try:
        return unbase58(value[1:])
    except ValueError:
        raise Broken("signature_mismatch", "Its signature cannot be read.") from None


def ask(name: Question, question: Callable[[], str]) -> Check:
    """Return the answer to a question: the sentence it returns, or why it did not pass."""
    try:
        return Check(name, CheckOutcome.PASSED, question())
    except Broken as broken:
        return Check(name, CheckOutcome.FAILED, broken.detail, broken.code)
    except BadgeError as error:
        return Check(name, CheckOutcome.FAILED, sentence(error.detail), error.code)
    except UNREADABLE:
        return Check(name, CheckOutcome.FAILED, "It cannot be read.", "unreadable")


@cache
def _schema(name: str) -> Draft202012Validator:
    document = json.loads((files("openbadges") / "data" / "credentials.schema.json").read_text("utf-8"))
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": document["$defs"]})
