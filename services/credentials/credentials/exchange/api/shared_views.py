"""The shape of a shared record, for the OpenAPI document: it is sent as it was hashed and signed."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from credentials.domain.credit import CreditStatus
from shared.web import Instant, View

_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"
_HASH = "d58be95418452bebd8d86dbd2fc262f9e185655b6e6d8807c104ffa67a7f40ff"


class RecordIssuer(View):
    """Who issued the record: a decentralised identifier (DID) and a name."""

    id: str = Field(examples=["did:web:badges.example.ac.uk"])
    name: str = Field(examples=["University of Example"])


class RecordHolder(View):
    """Whose record it is, under an id that only this recipient knows."""

    id: str = Field(
        description="The same in every record for this recipient, and in no other's",
        examples=["urn:uuid:826b4658-71ea-5875-bd63-c80b346877cc"],
    )
    name: str | None = Field(
        default=None, description="Only where the learner consented to it", examples=["Ada Lovelace"]
    )


class RecordLevel(View):
    """A level within a named framework of qualifications."""

    framework: str = Field(examples=["FHEQ"])
    level: int = Field(examples=[7])


class RecordSkill(View):
    """A skill that was taught, and its address in a public framework of skills."""

    name: str = Field(examples=["analyse data"])
    framework: str = Field(examples=["ESCO"])
    url: str = Field(examples=["http://data.europa.eu/esco/skill/ccd0a1d9-afda-43d9-b901-96344886e14d"])


class RecordModule(View):
    """What the course taught, as it was when it was passed."""

    name: str = Field(examples=["Applied Machine Learning"])
    code: str = Field(examples=["7DS501"])
    description: str = Field(examples=["Models that learn from examples, and how to tell whether they did."])
    criteria: str = Field(examples=["Awarded to learners who pass one project."])
    skills: list[RecordSkill]


class RecordCredit(View):
    """A credit of a shared record, with where it stands now; `revoked_at` is null unless it was taken back."""

    credit_id: UUID = Field(examples=[_EXAMPLE])
    course_code: str = Field(examples=["7DS501"])
    course_title: str = Field(examples=["Applied Machine Learning"])
    subject: str = Field(examples=["Data Science"])
    credits: int = Field(examples=[15])
    level: RecordLevel
    source: Literal["internal", "rpl_external"] = Field(description="Earned here, or recognised from elsewhere")
    status: CreditStatus = Field(description="Now", examples=["ratified"])
    ratified_at: Instant
    revoked_at: Instant | None
    module: RecordModule | None = Field(description="Null for credit recognised from elsewhere")
    mark: str | None = Field(
        default=None, description="Only where the learner consented to it; of 100 points", examples=["68"]
    )
    attempt: int | None = Field(default=None, description="Only where the learner consented to it", examples=[1])
    credential_url: str | None = Field(
        description="The signed Open Badge; null where the learner held their name back",
        examples=[f"https://badges.example.ac.uk/credentials/{_EXAMPLE}"],
    )
    verification_url: str | None = Field(examples=[f"https://badges.example.ac.uk/verify/{_EXAMPLE}"])


class RecordAward(View):
    """An award of a shared record, with where it stands now."""

    award_id: UUID = Field(examples=[_EXAMPLE])
    title: str = Field(examples=["PGCert in Data Science"])
    level: str = Field(examples=["pgcert"])
    credits: int = Field(examples=[60])
    status: Literal["conferred", "superseded", "rescinded"] = Field(description="Now", examples=["conferred"])
    under_review_since: Instant | None = Field(
        description="Credit it stands on was revoked, and whether it still stands is being decided", examples=[None]
    )
    certificate_number: str | None = Field(
        description="Null where the learner held their name back", examples=["MC-2026-7KQ2M4X9PAT"]
    )
    conferred_at: Instant | None
    classification: str | None = Field(default=None, description="Only with marks", examples=["Merit"])
    credential_url: str | None = Field(examples=[f"https://badges.example.ac.uk/credentials/{_EXAMPLE}"])
    verification_url: str | None = Field(examples=[f"https://badges.example.ac.uk/verify/{_EXAMPLE}"])


class SharedRecord(View):
    """The part of a learner's record that a consent covers: credit and awards, each with its status now."""

    share_id: UUID = Field(examples=[_EXAMPLE])
    as_at: Instant
    nonce: str = Field(
        description="Random, another each time: the kept `sha256` cannot be guessed",
        examples=["8f14e45fceea167a5a36dedd4bea2543"],
    )
    expires_at: Instant
    purpose: str = Field(examples=["Admission to MSc Data Science"])
    recipient: str = Field(examples=["Example University"])
    issuer: RecordIssuer
    holder: RecordHolder
    credits: list[RecordCredit]
    awards: list[RecordAward]


class OpenedRecordView(View):
    """A record as whoever opened a link sees it, with its hash."""

    record: SharedRecord
    sha256: str = Field(
        description="Of `record` as JSON with sorted members and no spaces, in UTF-8, in hex", examples=[_HASH]
    )


class SharedRecordView(OpenedRecordView):
    """A record as a partner receives it: as JSON with its hash and signature, and where its other forms are."""

    jws: str = Field(
        description="That same JSON signed (RFC 7515); `kid` is in the issuer's DID document",
        examples=["eyJhbGciOiJFZERTQSIsImtpZCI6ImRpZDp3ZWI6ZXhhbXBsZS5hYy51ayNrZXkifQ.eyJhd2FyZHMiOltdfQ.c2lnbmVk"],
    )
    clr_url: str = Field(
        description="The same as a signed Comprehensive Learner Record 2.0",
        examples=[f"/v1/shared-records/{_EXAMPLE}.clr"],
    )
    pdf_url: str | None = Field(
        description="The transcript on paper; only where the consent holds nothing back, for paper shows everything",
        examples=[f"/v1/shared-records/{_EXAMPLE}.pdf"],
    )
