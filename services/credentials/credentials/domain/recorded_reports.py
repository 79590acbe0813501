"""The report of a verification with what our own records add to it."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from credentials.domain.learner_records import is_within
from openbadges.verification.report import Check, CheckOutcome, Kind, Question, Report, Status, status_of


class IssuerKnown(StrEnum):
    """What is known of an issuer whose signature holds."""

    OURS = "ours"
    ADDRESS = "address"
    """A web address of theirs, so that one can find out whose that is."""
    KEY = "key"
    """Only the key they signed with, which anybody can make."""


@dataclass(frozen=True)
class RecordedReport(Report):
    """A report, and whether it is about something of ours."""

    parts: tuple["RecordedReport", ...] = ()
    newer: "RecordedReport | None" = None
    ours: bool = False
    bears_our_name: bool = False
    """Whether somebody else signed it, under a name that looks like ours."""
    under_review_since: datetime | None = None
    """Since when an award of ours is under review, because credit it stands on was revoked."""

    @classmethod
    def of(cls, report: Report) -> "RecordedReport":
        """Return the report, with nothing added yet."""
        return cls(
            report.status,
            report.checks,
            report.checked_at,
            report.kind,
            report.document,
            parts=tuple(map(cls.of, report.parts)),
            newer=None if report.newer is None else cls.of(report.newer),
        )

    @property
    def is_record(self) -> bool:
        """Whether it is a learner record, or a credential only within one of ours; both end when there is a newer
        record."""
        return self.kind is Kind.TRANSCRIPT or is_within(str(self.document.get("id")))

    @property
    def known_issuer(self) -> IssuerKnown | None:
        """What is known of the issuer; None where it is not shown to be that issuer's word."""
        if self.proven and self.ours:
            return IssuerKnown.OURS
        return None if self.issuer_known is None else IssuerKnown(self.issuer_known)


def revoked(report: RecordedReport) -> RecordedReport:
    """Return the report of a credential that we have revoked, when the list does not say so yet."""
    revocation = Check(
        Question.REVOCATION, CheckOutcome.FAILED, "The issuer has revoked it; its list will say so soon.", "revoked"
    )
    return replace(_with(report, revocation), status=Status.REVOKED)


def not_recorded(report: RecordedReport) -> RecordedReport:
    """Return the report of a credential of ours that is not in our records: they were lost, and its later history with
    them."""
    revocation = Check(
        Question.REVOCATION,
        CheckOutcome.FAILED,
        "The issuer has signed it and has no record of it: whether it still stands is not known here.",
        "not_recorded",
    )
    return replace(_with(report, revocation), status=Status.UNCONFIRMED)


def stands(report: RecordedReport) -> RecordedReport:
    """Return the report of a credential of ours that stands, whose list was signed with a key that was struck out, and
    is signed anew."""
    revocation = Check(
        Question.REVOCATION, CheckOutcome.PASSED, "It stands in the issuer's own records, from which its list is made."
    )
    kept = _with(report, revocation)
    others = [check for check in kept.checks if check.name not in {Question.REVOCATION_LIST, Question.VERSION}]
    return replace(kept, status=status_of(others))


def signed_with_lost_key(report: RecordedReport) -> RecordedReport:
    """Return the report of a badge read from our own records, whose key was struck out since."""
    words = "The key that signed it was struck out since. It stands in the issuer's own records, and is signed anew."
    checks = tuple(
        replace(check, detail=words) if check.name is Question.ISSUER and check.code is None else check
        for check in report.checks
    )
    return replace(report, checks=checks)


def of_no_key_of_ours(report: RecordedReport) -> RecordedReport:
    """Return the report of a credential that names us, signed with a key we do not name, with what to ask its holder.

    It is forged, or a copy from before its key was struck out: nobody can tell these apart by the copy.
    """
    checks = tuple(
        replace(check, detail=_ASK_HOLDER) if check.name is Question.ISSUER and check.code == KEY_NOT_NAMED else check
        for check in report.checks
    )
    return replace(report, checks=checks)


KEY_NOT_NAMED: Final = "key_not_of_issuer"
"""The code of a signature whose key its issuer does not name."""
_ASK_HOLDER: Final = (
    "The issuer does not name this key as one it signs with, or no longer: keys that were lost are struck out, and "
    "what they signed is signed anew. Ask the holder for the credential's address or number, or for a new download."
)


def _with(report: RecordedReport, revocation: Check) -> RecordedReport:
    checks = tuple(revocation if check.name is Question.REVOCATION else check for check in report.checks)
    return replace(report, checks=checks)
