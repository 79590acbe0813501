"""The report of a verification: each question with its own answer, and what they add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from openbadges.members import id_of

Document = Mapping[str, Any]  # Any: JSON

NAMED_BY_KEY = ("did:key:", "did:jwk:")
"""Issuers that are named by a key and nothing else."""


class CheckOutcome(StrEnum):
    """How a check of a credential ended.

    `not_checked`: an earlier answer leaves nothing to ask, or the issuer could not be asked.
    """

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"


class Question(StrEnum):
    """What a credential is checked for.

    - `schema`: is it shaped as Open Badges 3.0 or the Comprehensive Learner Record 2.0 demand?
    - `terms`: does its signature cover every member it has?
    - `issuer`: can the issuer it names be found, and is the key theirs?
    - `proof`: is the signature right?
    - `period`: is it valid now, neither expired nor of the future?
    - `revocation_list`: is the issuer's list of what they revoked to be had, and theirs?
    - `revocation`: is it not on that list?
    - `version`: is it the newest version? Asked where the issuer offers newer versions.
    - `parts`: do all credentials it holds stand? Asked where it holds others.
    """

    SCHEMA = "schema"
    TERMS = "terms"
    ISSUER = "issuer"
    PROOF = "proof"
    PERIOD = "period"
    REVOCATION_LIST = "revocation_list"
    REVOCATION = "revocation"
    VERSION = "version"
    PARTS = "parts"


class Status(StrEnum):
    VALID = "valid"
    REPLACED = "replaced"
    """The issuer has since given out a newer version, which stands."""
    PARTLY_VALID = "partly_valid"
    """It stands, but not every credential it holds does."""
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNCONFIRMED = "unconfirmed"
    """Another check failed: it may be forged, damaged, or its issuer cannot be asked."""


class Kind(StrEnum):
    BADGE = "badge"
    TRANSCRIPT = "transcript"
    OTHER = "other"


class IssuerKnown(StrEnum):
    """What is known of an issuer whose signature holds."""

    ADDRESS = "address"
    """A web address of theirs, so that one can find out whose that is."""
    KEY = "key"
    """Only the key they signed with, which anybody can make."""


@dataclass(frozen=True)
class Check:
    """The answer to a question. `code` names why it did not pass, stably; `detail` says it to people."""

    name: Question
    outcome: CheckOutcome
    detail: str
    code: str | None = None


@dataclass(frozen=True)
class Report:
    """All that was found about a credential."""

    status: Status
    checks: tuple[Check, ...]
    checked_at: datetime
    kind: Kind
    document: Document
    """What it says, read from what was signed; where that was refused, as it was uploaded."""
    parts: tuple["Report", ...] = field(default=())
    newer: "Report | None" = None

    @property
    def verified(self) -> bool:
        return self.status is Status.VALID

    @property
    def proven(self) -> bool:
        """Whether the issuer it names did sign it, be it still valid or not."""
        return self.says(Question.PROOF, CheckOutcome.PASSED)

    @property
    def issuer_known(self) -> IssuerKnown | None:
        """What is known of the issuer; None where it is not shown to be that issuer's word."""
        if not self.proven:
            return None
        issuer = str(id_of(self.document.get("issuer")))
        return IssuerKnown.KEY if issuer.startswith(NAMED_BY_KEY) else IssuerKnown.ADDRESS

    def says(self, name: Question, outcome: CheckOutcome) -> bool:
        """Return whether a question has this outcome."""
        return any(check.name is name and check.outcome is outcome for check in self.checks)


_PERIODS = {"expired": Status.EXPIRED, "not_yet_valid": Status.NOT_YET_VALID}
_ENDINGS = {"revoked": Status.REVOKED, "suspended": Status.SUSPENDED}


def status_of(checks: Sequence[Check]) -> Status:
    """Return what the answers to all questions but that for a newer version add up to."""
    failed = {check.name: check.code or "" for check in checks if check.outcome is CheckOutcome.FAILED}
    if not failed and all(check.outcome is CheckOutcome.PASSED for check in checks):
        return Status.VALID
    if Question.REVOCATION in failed and set(failed) <= {Question.REVOCATION, Question.PERIOD, Question.PARTS}:
        return _ENDINGS[failed[Question.REVOCATION]]
    if set(failed) == {Question.PERIOD}:
        return _PERIODS.get(failed[Question.PERIOD], Status.UNCONFIRMED)
    return Status.PARTLY_VALID if set(failed) == {Question.PARTS} else Status.UNCONFIRMED


def sentence(detail: str) -> str:
    """Return the detail of an error as a sentence, as the details of checks are."""
    return f"{detail[:1].upper()}{detail[1:]}{'' if detail.endswith('.') else '.'}"


def revoked(report: Report) -> Report:
    """Return the report of a credential whose issuer has revoked it, when the list does not say so yet."""
    revocation = Check(
        Question.REVOCATION, CheckOutcome.FAILED, "The issuer has revoked it; its list will say so soon.", "revoked"
    )
    checks = tuple(revocation if check.name is Question.REVOCATION else check for check in report.checks)
    return replace(report, status=Status.REVOKED, checks=checks)


def not_recorded(report: Report) -> Report:
    """Return the report of a credential of ours that is not in our records: they were lost, and its later history with
    them."""
    revocation = Check(
        Question.REVOCATION,
        CheckOutcome.FAILED,
        "The issuer has signed it and has no record of it: whether it still stands is not known here.",
        "not_recorded",
    )
    checks = tuple(revocation if check.name is Question.REVOCATION else check for check in report.checks)
    return replace(report, status=Status.UNCONFIRMED, checks=checks)


UNREADABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""What reading a stranger's document raises where a member is missing or has another shape: it proves nothing."""


class Broken(Exception):
    """A check did not pass."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail
