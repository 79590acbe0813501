"""The request and response bodies of verifications."""

from typing import Any, Literal, Self

from pydantic import Field

from credentials.adapters.pages import verdict_of
from credentials.api.bodies import A_CREDENTIAL
from credentials.domain.recorded_reports import IssuerKnown, RecordedReport
from openbadges.facts import facts_of
from openbadges.verification.report import CheckOutcome, Question
from shared.web import Instant, View

FORMS: dict[str, Any] = {  # Any: OpenAPI
    "content": {
        "application/json": {
            **A_CREDENTIAL,
            "examples": {
                "badge": {
                    "summary": "An Open Badge",
                    "value": {
                        "@context": [
                            "https://www.w3.org/ns/credentials/v2",
                            "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
                        ],
                        "id": "https://badges.example.ac.uk/credentials/0b5f6f6e-0d0c-4b57-9d7e-0c9f6f3d1f50",
                        "type": ["VerifiableCredential", "OpenBadgeCredential"],
                        "issuer": {"id": "did:web:badges.example.ac.uk", "type": ["Profile"]},
                        "validFrom": "2026-07-01T09:00:00Z",
                        "credentialSubject": {},
                        "proof": [{}],
                    },
                }
            },
        },
        "text/plain": {"schema": {"type": "string", "description": "A compact JWT"}},
        "image/png": {"schema": {"type": "string", "format": "binary", "description": "A baked badge"}},
        "image/svg+xml": {"schema": {"type": "string", "format": "binary", "description": "A baked badge"}},
    },
    "required": True,
}


class CheckView(View):
    """One question asked about a credential, and how it was answered."""

    name: Question
    outcome: CheckOutcome
    detail: str = Field(examples=["The issuer has not revoked it."])
    code: str | None = Field(description="Why it did not pass, stably", examples=[None])


class VerificationView(View):
    """What was found about a credential: every question with its own answer. Credentials inside it are checked each by
    itself."""

    verified: bool = Field(
        description="True only if every check passed: it is its issuer's word, and stands. Whether anybody knows that "
        "issuer shows in `issuer_known`; a program that trusts `verified` alone trusts whoever can make a key"
    )
    status: Literal[
        "valid",
        "superseded",
        "replaced",
        "partly_valid",
        "suspended",
        "revoked",
        "expired",
        "not_yet_valid",
        "unconfirmed",
    ]
    meaning: str = Field(
        description="What the status means, for people", examples=["This credential is genuine and stands."]
    )
    kind: Literal["badge", "transcript", "other"]
    name: str = Field(examples=["Applied Machine Learning"])
    issuer: str = Field(description="Whose signature it was held against", examples=["did:web:badges.example.ac.uk"])
    issuer_known: IssuerKnown | None = Field(
        description="`ours`: this platform. `address`: whoever has that web address (`issuer`), which is theirs; whose "
        "it is remains for you to know. `key`: nothing is known but a key, which anybody can make under any name. null "
        "where the signature did not hold"
    )
    bears_our_name: bool = Field(
        description="Another issuer signs under a name that reads as ours, be it in letters that look alike: do not "
        "take it for one of ours",
    )
    under_review_since: Instant | None = Field(
        description="Of an award of ours that verifies: since then it is being decided whether it still stands, for "
        "credit it stands on was revoked"
    )
    checked_at: Instant
    checks: list[CheckView]
    parts: list["VerificationView"] = Field(description="The credentials a transcript holds")
    newer: "VerificationView | None" = Field(description="The version the issuer has since replaced it by")
    newer_url: str | None = Field(
        default=None,
        description="Of a replaced badge of ours: the page of the one that stands, which has another address where a "
        "revoked credit was given back",
    )

    @classmethod
    def of(
        cls, report: RecordedReport, status: str | None = None, *, ours: bool = False, newer_url: str | None = None
    ) -> Self:
        facts = facts_of(report.document, report.kind)
        status = status or report.status.value
        return cls.model_validate(
            {
                "verified": report.verified,
                "status": status,
                "meaning": verdict_of(report, status, ours=ours)[1],
                "kind": report.kind.value,
                "name": facts.title,
                "issuer": facts.issuer_id,
                "issuer_known": report.known_issuer,
                "bears_our_name": report.bears_our_name,
                "under_review_since": report.under_review_since,
                "checked_at": report.checked_at,
                "checks": [CheckView.model_validate(check) for check in report.checks],
                "parts": [cls.of(part) for part in report.parts],
                "newer": cls.of(report.newer) if report.newer is not None else None,
                "newer_url": newer_url,
            }
        )
