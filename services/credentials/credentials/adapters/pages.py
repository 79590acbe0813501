"""Pages for people: plain HTML that reads well on a telephone, on paper and aloud, without a script."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from credentials.adapters.verifier import Question, Report

Document = Mapping[str, Any]  # Any: JSON

_QUESTIONS = {
    Question.ISSUER: "Issuer",
    Question.PROOF: "Signature",
    Question.TERMS: "Coverage",
    Question.SCHEMA: "Form",
    Question.PERIOD: "Validity period",
    Question.REVOCATION_LIST: "Revocation list",
    Question.REVOCATION: "Revocation",
}

_VERDICTS = {
    "valid": (
        "Valid",
        "This credential is genuine and stands.",
    ),
    "superseded": (
        "Superseded",
        (
            "This award is genuine. Its holder has since been given a higher award that builds on the same "
            "credit, so the higher award is the one they now hold."
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
        "This credential could not be confirmed. The checks below say which question failed.",
    ),
}

_OUTCOMES = {"passed": "Passed", "failed": "Failed", "not_checked": "Not checked"}


class Pages:
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

    def verification(self, credential: Document, report: Report, *, superseded: bool, at: datetime) -> str:
        status = "superseded" if superseded else report.status.value
        verdict, meaning = _VERDICTS[status]
        answers = {check.name: check for check in report.checks}
        return self._environment.get_template("verification.html").render(
            credential=credential,
            achievement=credential["credentialSubject"]["achievement"],
            status=status,
            verdict=verdict,
            meaning=meaning,
            answers=[
                (question, _OUTCOMES[answers[name].outcome], answers[name].outcome.value, answers[name].detail)
                for name, question in _QUESTIONS.items()
            ],
            at=at,
        )

    def transcript(self, document: Document, sha256: str, awarding_body: str) -> str:
        return self._environment.get_template("transcript.html").render(
            document=document, sha256=sha256, awarding_body=awarding_body
        )


def _day(value: str) -> str:
    at = datetime.fromisoformat(value)
    return f"{at.day} {at:%B %Y}"


def _minute(at: datetime | str) -> str:
    at = (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"
