"""What came of it: each question with its own answer, and what they add up to."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

Document = Mapping[str, Any]  # Any: JSON


class CheckOutcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"
    """An earlier answer leaves nothing to ask, or there was no way to ask."""


class Question(StrEnum):
    SCHEMA = "schema"
    TERMS = "terms"
    ISSUER = "issuer"
    PROOF = "proof"
    PERIOD = "period"
    REVOCATION_LIST = "revocation_list"
    REVOCATION = "revocation"
    VERSION = "version"
    """Asked where the issuer offers newer versions."""
    PARTS = "parts"
    """Asked where it holds other credentials."""


class Status(StrEnum):
    VALID = "valid"
    REPLACED = "replaced"
    """The issuer has since given out a newer version, which stands."""
    PARTLY_VALID = "partly_valid"
    """It stands, but not everything it holds."""
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNCONFIRMED = "unconfirmed"
    """Something else did not hold: it may be forged, damaged, or its issuer cannot be asked."""


class Kind(StrEnum):
    BADGE = "badge"
    TRANSCRIPT = "transcript"
    OTHER = "other"


@dataclass(frozen=True)
class Check:
    """`code` names why it did not pass, stably; `detail` says it to people."""

    name: Question
    outcome: CheckOutcome
    detail: str
    code: str | None = None


@dataclass(frozen=True)
class Report:
    status: Status
    checks: tuple[Check, ...]
    checked_at: datetime
    kind: Kind
    document: Document
    """What it says, read from what was signed; of one that was refused, as it was given."""
    parts: tuple["Report", ...] = field(default=())
    newer: "Report | None" = None

    @property
    def verified(self) -> bool:
        return self.status is Status.VALID

    @property
    def proven(self) -> bool:
        """Whether it is the word of the issuer it names, be it still true or not."""
        return self.says(Question.PROOF, CheckOutcome.PASSED)

    def says(self, name: Question, outcome: CheckOutcome) -> bool:
        return any(check.name is name and check.outcome is outcome for check in self.checks)


def sentence(detail: str) -> str:
    """The detail of a refusal as a sentence of its own, as those of checks are."""
    return f"{detail[:1].upper()}{detail[1:]}{'' if detail.endswith('.') else '.'}"


def revoked(report: Report) -> Report:
    """The same, of a credential that its issuer has taken back and whose list does not say so yet."""
    told = Check(
        Question.REVOCATION, CheckOutcome.FAILED, "The issuer has revoked it; its list will say so soon.", "revoked"
    )
    checks = tuple(told if check.name is Question.REVOCATION else check for check in report.checks)
    return replace(report, status=Status.REVOKED, checks=checks)


UNREADABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""What reading a stranger's document raises where it lacks something, or has it in another shape: it proves nothing."""


class Broken(Exception):
    """A check did not hold."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail
