"""Is this credential genuine, and does it still stand? Each question is asked and answered by itself.

Pure over its arguments: whoever calls has resolved the issuer's DID document and the status list.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, cast

import orjson
from jsonschema import Draft202012Validator

from credentials.adapters import json_ld, proofs
from credentials.domain.status_lists import is_set
from shared.errors import Refusal

Document = Mapping[str, Any]  # Any: JSON


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"
    """An earlier answer leaves nothing to ask."""


class Question(StrEnum):
    SCHEMA = "schema"
    TERMS = "terms"
    ISSUER = "issuer"
    PROOF = "proof"
    PERIOD = "period"
    REVOCATION_LIST = "revocation_list"
    REVOCATION = "revocation"


class Status(StrEnum):
    VALID = "valid"
    REVOKED = "revoked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNCONFIRMED = "unconfirmed"
    """Something else did not hold: it may be forged, damaged, or of an issuer unknown here."""


@dataclass(frozen=True)
class Check:
    name: Question
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class Report:
    status: Status
    checks: tuple[Check, ...]
    checked_at: datetime

    @property
    def verified(self) -> bool:
        return self.status is Status.VALID


class _Broken(Exception):
    """A check did not hold; its text is for people."""


@dataclass(frozen=True)
class Sources:
    """What the credential refers to, as far as it could be resolved."""

    did_document: Document | None
    status_list: Document | None


def verify(credential: Document, sources: Sources, now: datetime) -> Report:
    """Seven checks in the order in which they make sense; a failed one leaves the others' answers as they are."""
    checks = [
        _check(Question.SCHEMA, lambda: _has_shape(credential)),
        _check(Question.TERMS, lambda: _is_covered(credential)),
    ]
    if any(check.outcome is Outcome.FAILED for check in checks):
        skipped = [_skipped(name) for name in list(Question)[2:]]
        return Report(Status.UNCONFIRMED, (*checks, *skipped), now)
    checks.append(_check(Question.ISSUER, lambda: _issuer_vouches(credential, sources.did_document)))
    issuer_known = checks[-1].outcome is Outcome.PASSED
    if issuer_known:
        checks.append(_check(Question.PROOF, lambda: _proof_holds(credential, sources.did_document)))
    else:
        checks.append(_skipped(Question.PROOF))
    period = _check(Question.PERIOD, lambda: _within_period(credential, now))
    checks += [period, *_revocation(credential, sources, now)]
    return Report(_status(credential, checks, now), tuple(checks), now)


def issuer_of(credential: Document) -> str | None:
    issuer: object = credential.get("issuer")
    if isinstance(issuer, Mapping):
        issuer = cast("Mapping[str, object]", issuer).get("id")
    return issuer if isinstance(issuer, str) else None


def status_list_of(credential: Document) -> str | None:
    entry: object = credential.get("credentialStatus")
    if not isinstance(entry, Mapping):
        return None
    url = cast("Mapping[str, object]", entry).get("statusListCredential")
    return url if isinstance(url, str) else None


def _has_shape(credential: Document) -> str:
    error = next(iter(_schema().iter_errors(dict(credential))), None)  # pyright: ignore[reportUnknownMemberType] - jsonschema's own types are partial
    if error is not None:
        raise _Broken(f"at {error.json_path}: {error.message[:200]}")
    return "It is an Open Badges 3.0 credential."


def _is_covered(credential: Document) -> str:
    _check_terms(_packed(credential))
    return "The signature covers everything the credential says."


def _issuer_vouches(credential: Document, did_document: Document | None) -> str:
    issuer, proof = issuer_of(credential), _proof(credential)
    method = proof["verificationMethod"]
    if did_document is None or did_document.get("id") != issuer:
        raise _Broken("The issuer is not known here.")
    if proof.get("proofPurpose") != "assertionMethod" or method not in did_document["assertionMethod"]:
        raise _Broken("The issuer does not name this key as one it signs with.")
    return f"{issuer} names the signing key as its own."


def _proof_holds(credential: Document, did_document: Document | None) -> str:
    proof = _proof(credential)
    if proof.get("type") != "DataIntegrityProof" or proof.get("cryptosuite") != proofs.SUITE:
        raise _Broken(f"Only proofs of the suite {proofs.SUITE} are read here.")
    multikey = _key(did_document or {}, proof["verificationMethod"])
    if multikey is None or not _signed(credential, multikey):
        raise _Broken("The signature does not fit: it was changed after it was signed, or another key signed it.")
    return "It fits: nothing was changed since it was signed."


def _within_period(credential: Document, now: datetime) -> str:
    if _instant(credential["validFrom"]) > now:
        raise _Broken("It is not valid yet.")
    if "validUntil" in credential and _instant(credential["validUntil"]) <= now:
        raise _Broken("It has expired.")
    return "It is within its period of validity."


def _revocation(credential: Document, sources: Sources, now: datetime) -> list[Check]:
    if "credentialStatus" not in credential:
        return [
            Check(Question.REVOCATION_LIST, Outcome.PASSED, "The issuer publishes no revocation for it."),
            Check(Question.REVOCATION, Outcome.PASSED, "It cannot be revoked."),
        ]
    genuine = _check(Question.REVOCATION_LIST, lambda: _list_stands(credential, sources, now))
    if genuine.outcome is Outcome.FAILED:
        return [genuine, _skipped(Question.REVOCATION)]
    return [genuine, _check(Question.REVOCATION, lambda: _not_revoked(credential, sources.status_list or {}))]


def _list_stands(credential: Document, sources: Sources, now: datetime) -> str:
    """The list is signed by the same issuer, for this purpose, and is not an old copy."""
    found = sources.status_list
    entry = credential["credentialStatus"]
    if found is None or found.get("id") != entry["statusListCredential"]:
        raise _Broken("The revocation list could not be read.")
    if issuer_of(found) != issuer_of(credential) or sources.did_document is None:
        raise _Broken("The revocation list is of another issuer.")
    proof = _proof(found)
    multikey = _key(sources.did_document, proof["verificationMethod"])
    listed = proof["verificationMethod"] in sources.did_document["assertionMethod"]
    if multikey is None or not listed or not _signed(found, multikey):
        raise _Broken("The revocation list is not signed by the issuer.")
    if found["credentialSubject"]["statusPurpose"] != entry["statusPurpose"]:
        raise _Broken("The revocation list serves another purpose.")
    if not _instant(found["validFrom"]) <= now < _instant(found["validUntil"]):
        raise _Broken("The revocation list is out of date.")
    as_of = _instant(found["validFrom"]).astimezone(UTC)
    return f"The issuer's own list is signed and current (as of {as_of.day} {as_of:%B %Y, %H:%M} UTC)."


def _not_revoked(credential: Document, status_list: Document) -> str:
    index = int(credential["credentialStatus"]["statusListIndex"])
    if is_set(status_list["credentialSubject"]["encodedList"], index):
        raise _Broken("The issuer has revoked it.")
    return "The issuer has not revoked it."


def _status(credential: Document, checks: list[Check], now: datetime) -> Status:
    failed = {check.name for check in checks if check.outcome is Outcome.FAILED}
    if not failed and all(check.outcome is Outcome.PASSED for check in checks):
        return Status.VALID
    if failed == {Question.REVOCATION}:
        return Status.REVOKED
    if failed == {Question.PERIOD}:
        return Status.NOT_YET_VALID if _instant(credential["validFrom"]) > now else Status.EXPIRED
    return Status.UNCONFIRMED


def _check(name: Question, ask: Any) -> Check:  # Any: a function without arguments that returns a sentence
    try:
        return Check(name, Outcome.PASSED, ask())
    except _Broken as broken:
        return Check(name, Outcome.FAILED, str(broken))
    except Refusal as refusal:
        return Check(name, Outcome.FAILED, refusal.detail)
    except (KeyError, TypeError, ValueError):
        # A foreign document may lack anything; what cannot be read has not been shown to hold.
        return Check(name, Outcome.FAILED, "It cannot be read.")


def _skipped(name: Question) -> Check:
    return Check(name, Outcome.NOT_CHECKED, "Not asked, since an earlier check failed.")


def _proof(document: Document) -> Mapping[str, Any]:  # Any: JSON
    """The one proof: with several, which of them counts would be for the reader to guess."""
    found = document["proof"]
    if not isinstance(found, list):
        raise _Broken("The proof is not a list.")
    entries = cast("list[Mapping[str, Any]]", found)  # Any: JSON
    if len(entries) != 1:
        raise _Broken("It has more than one proof.")
    return entries[0]


def _key(did_document: Document, verification_method: str) -> str | None:
    for method in did_document.get("verificationMethod", ()):
        if method["id"] == verification_method and method["controller"] == did_document["id"]:
            return str(method["publicKeyMultibase"])
    return None


def _instant(value: str) -> datetime:
    """Raises ValueError without a zone: an instant nobody can place proves nothing."""
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError("no zone")
    return at


# The same badge is looked at many times and never changes: what JSON-LD found out about these very bytes still
# holds. Only the two costly questions are remembered, which depend on nothing but the bytes and the key.


def _signed(document: Document, multikey: str) -> bool:
    return _holds(_packed(document), multikey)


@lru_cache(maxsize=1024)
def _holds(packed: bytes, multikey: str) -> bool:
    document = orjson.loads(packed)
    return proofs.holds(document, document["proof"][0], multikey)


@lru_cache(maxsize=1024)
def _check_terms(packed: bytes) -> None:
    json_ld.check_terms(orjson.loads(packed))


def _packed(document: Document) -> bytes:
    return orjson.dumps(document)


@cache
def _schema() -> Draft202012Validator:
    document = json.loads((files("credentials") / "data" / "achievement_credential.schema.json").read_text("utf-8"))
    return Draft202012Validator(document)
