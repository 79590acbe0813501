"""Pages for people: plain HTML that reads well on a telephone, on paper and aloud, without a script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from credentials.domain import days
from credentials.domain.recorded_reports import IssuerKnown, RecordedReport
from openbadges.facts import Facts, facts_of
from openbadges.members import id_of
from openbadges.verification.report import Check, Question, Status

Document = Mapping[str, Any]  # Any: JSON

# No script, nothing from other hosts, in no frame: whatever a stranger's credential says stays text.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_QUESTIONS = {
    Question.ISSUER: "Issuer",
    Question.PROOF: "Signature",
    Question.TERMS: "Coverage",
    Question.SCHEMA: "Form",
    Question.PERIOD: "Validity period",
    Question.REVOCATION_LIST: "Revocation list",
    Question.REVOCATION: "Revocation",
    Question.VERSION: "Version",
    Question.PARTS: "Credentials inside",
}

_VERDICTS = {
    "valid": ("Valid", "This credential is genuine and stands."),
    "superseded": (
        "Superseded",
        (
            "This award is genuine. Its holder has since been given a higher award that builds on the same credit, so "
            "the higher award is the one they now hold."
        ),
    ),
    "replaced": (
        "Replaced",
        (
            "This copy is genuine, and the institution has since given out a corrected version. It is the corrected "
            "version that stands."
        ),
    ),
    "partly_valid": (
        "Valid in part",
        (
            "This document is genuine, but not everything it holds stands any longer. Each credential inside has an "
            "answer of its own."
        ),
    ),
    "suspended": (
        "Suspended",
        (
            "This credential is genuine, and the institution has suspended it for the time being. Ask its holder or "
            "the institution before relying on it."
        ),
    ),
    "revoked": (
        "Revoked",
        "This credential was genuine, and the institution has since taken it back. It must not be relied on.",
    ),
    "expired": ("Expired", "This credential was genuine, and its time has run out."),
    "not_yet_valid": ("Not valid yet", "This credential is genuine; its period of validity has not begun."),
    "unconfirmed": (
        "Not confirmed",
        "This credential could not be confirmed. The checks say which question failed.",
    ),
}

_RECORD_ENDED = (
    "Replaced or withdrawn",
    (
        "This learner record was genuine when it was issued. Since then the institution has issued a newer one in "
        "its place, or withdrawn something that it states. Ask its holder for the newest: that one says what stands."
    ),
)
"""Does not say which of the two it was: a changed name would show."""

_GIVEN_BACK = (
    "Replaced",
    (
        "The institution had taken this badge back, and has since given the credit back with a new badge. It is the "
        "new badge that stands."
    ),
)

_PUT_TOGETHER = (
    "Valid in part",
    (
        "Whoever made this document put it together from credentials that others issued. Each of those stands; that "
        "they are one person's, and whose, is not shown: it is the word of its maker alone."
    ),
)
_SIGNED_BY_SOMEBODY = "Signed, by somebody this page does not know"
_KNOWN_BY_KEY = (
    "Of whoever signed it nothing is known but a key, which anybody can make and sign with under any name. Who they "
    "are, and whether what they say is so, is not shown."
)
_NOT_OURS = (
    "Not issued by us",
    (
        "It gives its issuer a name that reads as ours, but we did not issue it: somebody else signed it. Do not take "
        "it for one of ours, whatever it says."
    ),
)

_BY_ITS_MAKERS_WORD = {"another_holder", "holder_not_shown"}

_MAY_BE_REVIEWED = {"valid", "superseded"}

_OUTCOMES = {"passed": "Passed", "failed": "Failed", "not_checked": "Not checked"}


class VerdictText(NamedTuple):
    """The verdict on a credential in words."""

    word: str
    meaning: str
    tone: str
    """The status that gives the colour."""


@dataclass(frozen=True)
class _Answer:
    question: str
    word: str
    outcome: str
    detail: str


@dataclass(frozen=True)
class _Part:
    facts: Facts
    ours: bool
    verdict: str
    tone: str
    failed: list[_Answer]


class Pages:
    """Renders the pages about verification from their templates."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("credentials", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["day"] = _day
        self._environment.filters["minute"] = _minute

    def verification(
        self,
        report: RecordedReport,
        status: str,
        *,
        ours: bool,
        downloads: Mapping[str, str],
        newer_url: str | None = None,
    ) -> str:
        """Return the page with the answer to every question.

        Of a replaced credential it shows what the newest version says; `newer_url` is that version's address.
        """
        shown = report.newer if report.newer is not None and status == "replaced" else report
        verdict = verdict_of(report, status, ours=ours)
        return self._environment.get_template("verification.html").render(
            facts=facts_of(shown.document, shown.kind),
            verdict=verdict,
            answers=_answers(report.checks),
            parts=[_part(part, ours=ours and _issuer_of(part) == _issuer_of(shown)) for part in shown.parts],
            ours=ours,
            proven=report.proven,
            known_by_key=report.known_issuer is IssuerKnown.KEY,
            downloads=downloads,
            newer_url=newer_url,
            shows_newer=shown is not report,
            at=report.checked_at,
        )

    def missing(self, what: Literal["credential", "document", "link"]) -> str:
        """Return the page for somebody who mistyped an address, or was given one that was never ours."""
        return self._environment.get_template("missing.html").render(what=what)

    def missing_version(self, number: str, version: int, newest: int) -> str:
        """Return the page for somebody who asks for a version that a document of ours does not have."""
        return self._environment.get_template("missing.html").render(
            what="version", number=number, version=version, newest=newest
        )

    def upload(self, error: str | None = None, *, leads_to_text: bool = False) -> str:
        """Return the upload form, with the reason why the last upload could not be verified at all."""
        return self._environment.get_template("upload.html").render(error=error, leads_to_text=leads_to_text)


def verdict_of(report: RecordedReport, status: str, *, ours: bool) -> VerdictText:
    """Return the verdict in a word, and what it means. That a stranger signed is said before anything else."""
    word, meaning = _verdict(report, status, ours=ours)
    if report.bears_our_name and report.proven and not ours:
        return VerdictText(*_NOT_OURS, Status.UNCONFIRMED)
    if report.known_issuer is not IssuerKnown.KEY or ours:
        if report.under_review_since is None or status not in _MAY_BE_REVIEWED:
            return VerdictText(word, meaning, status)
        return VerdictText(
            f"{word}, under review", f"{meaning} {under_review(report.under_review_since)}", Status.SUSPENDED
        )
    if status == Status.VALID:
        return VerdictText(_SIGNED_BY_SOMEBODY, _KNOWN_BY_KEY, Status.PARTLY_VALID)
    word = _SIGNED_BY_SOMEBODY if status == Status.PARTLY_VALID else word
    return VerdictText(word, f"{_KNOWN_BY_KEY} {meaning}", status)


def under_review(since: datetime) -> str:
    return (
        "Credit that this award stands on was taken back, so the institution has been reviewing it since "
        f"{_day(since)}: until it has decided, ask it before relying on the award."
    )


def _verdict(report: RecordedReport, status: str, *, ours: bool) -> tuple[str, str]:
    if (ours or report.ours) and report.is_record and status == Status.REVOKED:
        return _RECORD_ENDED
    if status == Status.REPLACED and report.newer and report.newer.document.get("id") != report.document.get("id"):
        return _GIVEN_BACK
    if status == Status.PARTLY_VALID and any(check.code in _BY_ITS_MAKERS_WORD for check in report.checks):
        return _PUT_TOGETHER
    return _VERDICTS[status]


def _answers(checks: Sequence[Check]) -> list[_Answer]:
    given = {check.name: check for check in checks}
    return [
        _Answer(question, _OUTCOMES[given[name].outcome], given[name].outcome.value, given[name].detail)
        for name, question in _QUESTIONS.items()
        if name in given
    ]


def _issuer_of(report: RecordedReport) -> object:
    return id_of(report.document.get("issuer"))


def _part(report: RecordedReport, *, ours: bool) -> _Part:
    answers = _answers(report.checks)
    verdict = verdict_of(report, report.status.value, ours=ours)
    return _Part(
        facts_of(report.document, report.kind),
        ours,
        verdict.word,
        verdict.tone,
        [answer for answer in answers if answer.outcome == "failed"],
    )


def _day(at: datetime | str) -> str:
    return days.in_words(days.day_of(datetime.fromisoformat(at) if isinstance(at, str) else at))


def _minute(at: datetime | str) -> str:
    at = (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"
