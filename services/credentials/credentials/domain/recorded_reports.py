"""The report of a verification with what our own records add to it."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from credentials.domain.learner_records import is_within
from openbadges.verification.report import Check, CheckOutcome, Kind, Question, Report, Status


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


def _with(report: RecordedReport, revocation: Check) -> RecordedReport:
    checks = tuple(revocation if check.name is Question.REVOCATION else check for check in report.checks)
    return replace(report, checks=checks)
