"""What credentials announces."""

from uuid import UUID

from shared.events.base import Event, Fact, Instant


class BadgeIssued(Event, type="credentials.badge.issued.v1", subject="badge_id", consumers=("enrolment",)):
    """A badge about one credit or one award was signed for the first time."""

    badge_id: UUID
    learner_id: UUID
    credit_id: UUID | None = None
    award_id: UUID | None = None
    course_id: UUID | None = None
    credential_url: str
    issued_at: Instant


class BadgeRevoked(Event, type="credentials.badge.revoked.v1", subject="badge_id", consumers=("enrolment",)):
    """The badge is valid no longer; it is never given back, a new one is issued."""

    badge_id: UUID
    learner_id: UUID
    credit_id: UUID | None = None
    reason_code: str
    revoked_at: Instant


class BadgeSuperseded(Event, type="credentials.badge.superseded.v1", subject="badge_id"):
    """A newer version of the same badge took its place; earlier copies no longer verify.

    reason_code: correction (something it says changed), compromise (a signing key was struck out).
    """

    badge_id: UUID
    learner_id: UUID
    reason_code: str
    valid_from: Instant
    """Of the newer version."""
    superseded_at: Instant


class TranscriptIssued(
    Event, type="credentials.transcript.issued.v1", subject="transcript_id", consumers=("enrolment",)
):
    """A version of a learner's transcript was made out; `sha256` is that of its JSON."""

    transcript_id: UUID
    learner_id: UUID
    version: int
    sha256: str
    as_at: Instant


class TitlesChanged(Fact):
    level: str
    titles_added: tuple[str, ...] = ()
    titles_removed: tuple[str, ...] = ()


class AwardEligibilityChanged(
    Event, type="credentials.award.eligibility-changed.v1", subject="learner_id", consumers=("enrolment",)
):
    """Other titles than before can be claimed by a learner; `sequence` orders the changes of one learner."""

    learner_id: UUID
    sequence: int
    levels: tuple[TitlesChanged, ...]
    changed_at: Instant


class AwardClaimed(Event, type="credentials.award.claimed.v1", subject="award_id", consumers=("enrolment",)):
    """A learner claimed a title; the credit it stands on is reserved for it."""

    award_id: UUID
    learner_id: UUID
    level: str
    title: str
    rule: str
    credit_ids: tuple[UUID, ...]
    regulations_version: str
    claimed_at: Instant


class AwardConferred(Event, type="credentials.award.conferred.v1", subject="award_id", consumers=("enrolment",)):
    """A registrar conferred an award. classification: distinction, merit, pass, unclassified."""

    award_id: UUID
    learner_id: UUID
    level: str
    title: str
    credit_ids: tuple[UUID, ...]
    classification: str
    certificate_number: str
    conferred_at: Instant


class AwardLapsed(Event, type="credentials.award.lapsed.v1", subject="award_id", consumers=("enrolment",)):
    """A claim's reservation ran out before it was conferred; its credit is free again."""

    award_id: UUID
    learner_id: UUID
    lapsed_at: Instant


class AwardWithdrawn(Event, type="credentials.award.withdrawn.v1", subject="award_id", consumers=("enrolment",)):
    """The learner took a claim back; its credit is free again."""

    award_id: UUID
    learner_id: UUID
    withdrawn_at: Instant


class AwardRefused(Event, type="credentials.award.refused.v1", subject="award_id", consumers=("enrolment",)):
    """A claim that was not conferred; its credit is free again."""

    award_id: UUID
    learner_id: UUID
    reason_code: str
    refused_at: Instant


class AwardReviewOpened(Event, type="credentials.award.review-opened.v1", subject="award_id", consumers=("enrolment",)):
    """Credit it stands on was revoked, or a higher award holds it too; the award stands until a person decides."""

    award_id: UUID
    review_id: UUID
    learner_id: UUID
    credit_ids: tuple[UUID, ...]
    """What was lost, or is the other one's too."""
    opened_at: Instant


class AwardReviewClosed(Event, type="credentials.award.review-closed.v1", subject="award_id", consumers=("enrolment",)):
    """decision: substitute, rescind, rescind_and_offer, supersede, credit_reinstated."""

    award_id: UUID
    review_id: UUID
    learner_id: UUID
    decision: str
    reason_code: str
    credit_ids: tuple[UUID, ...]
    """The credit that the award is based on from now on; none if it was rescinded."""
    classification: str | None = None
    """The class it has with that credit."""
    closed_at: Instant


class AwardRescinded(Event, type="credentials.award.rescinded.v1", subject="award_id", consumers=("enrolment",)):
    """An award no longer stands. Its credit is free again, except what was revoked."""

    award_id: UUID
    learner_id: UUID
    level: str
    title: str
    certificate_number: str
    reason_code: str
    rescinded_at: Instant


class AwardRestored(Event, type="credentials.award.restored.v1", subject="award_id", consumers=("enrolment",)):
    """It was superseded by an award that has been rescinded, and stands by itself again."""

    award_id: UUID
    learner_id: UUID
    rescinded_award_id: UUID
    restored_at: Instant


class AwardSuperseded(Event, type="credentials.award.superseded.v1", subject="award_id", consumers=("enrolment",)):
    """A higher award took up its credit; it still verifies, as superseded."""

    award_id: UUID
    learner_id: UUID
    superseded_by: UUID
    superseded_at: Instant


class ShareGranted(Event, type="credentials.share.granted.v1", subject="share_id"):
    """A learner lets somebody see a part of their record; a link has no `client_id`."""

    share_id: UUID
    learner_id: UUID
    client_id: str | None = None
    credit_ids: tuple[UUID, ...] = ()
    award_ids: tuple[UUID, ...] = ()
    whole_record: bool = False
    granted_at: Instant
    expires_at: Instant


class ShareViewed(Event, type="credentials.share.viewed.v1", subject="share_id"):
    """Somebody opened what a learner shares. client_id: the partner, where a partner did."""

    viewing_id: UUID
    share_id: UUID
    learner_id: UUID
    client_id: str | None = None
    viewed_at: Instant


class ShareRevoked(Event, type="credentials.share.revoked.v1", subject="share_id"):
    """The learner withdrew a consent: nothing more is shown by it from now on."""

    share_id: UUID
    learner_id: UUID
    client_id: str | None = None
    revoked_at: Instant


class WebhookDisabled(Event, type="credentials.webhook.disabled.v1", subject="endpoint_id"):
    """A partner's address failed for too long or said that it is gone; nothing is sent there until it is enabled."""

    endpoint_id: UUID
    client_id: str
    reason_code: str
    disabled_at: Instant


class TransferRequested(
    Event, type="credentials.transfer.requested.v1", subject="transfer_id", consumers=("enrolment",)
):
    """A learner asks a partner to take credit into a degree programme."""

    transfer_id: UUID
    learner_id: UUID
    client_id: str
    programme_id: UUID
    share_id: UUID
    credit_ids: tuple[UUID, ...]
    decide_by: Instant
    requested_at: Instant


class LineDecided(Fact):
    """outcome: accept, partial, refuse."""

    credit_id: UUID
    outcome: str
    credits_recognised: int
    reason_code: str


class TransferDecided(Event, type="credentials.transfer.decided.v1", subject="transfer_id", consumers=("enrolment",)):
    """What is not refused is committed to the programme: no award can be claimed with it meanwhile."""

    transfer_id: UUID
    learner_id: UUID
    client_id: str
    programme_id: UUID
    decisions: tuple[LineDecided, ...]
    accepted_until: Instant | None = None
    decided_at: Instant


class TransferCompleted(
    Event, type="credentials.transfer.completed.v1", subject="transfer_id", consumers=("enrolment",)
):
    """The degree was conferred; the credit is used up."""

    transfer_id: UUID
    learner_id: UUID
    client_id: str
    programme_id: UUID
    credit_ids: tuple[UUID, ...]
    completed_at: Instant


class TransferReturned(Event, type="credentials.transfer.returned.v1", subject="transfer_id", consumers=("enrolment",)):
    """The learner left the degree, or the acceptance ran out; the credit is theirs again."""

    transfer_id: UUID
    learner_id: UUID
    client_id: str
    programme_id: UUID
    credit_ids: tuple[UUID, ...]
    reason_code: str
    returned_at: Instant


class TransferWithdrawn(
    Event, type="credentials.transfer.withdrawn.v1", subject="transfer_id", consumers=("enrolment",)
):
    """A request that ended undecided. reason_code: withdrawn, consent_withdrawn, not_decided_in_time."""

    transfer_id: UUID
    learner_id: UUID
    client_id: str
    programme_id: UUID
    reason_code: str
    withdrawn_at: Instant


class CreditRecognised(Event, type="credentials.credit.recognised.v1", subject="credit_id"):
    """Credit from elsewhere entered the ledger: without a mark, counted for awards and not for their class."""

    credit_id: UUID
    recognition_id: UUID
    learner_id: UUID
    subject_id: UUID
    credits: int
    level: int
    recognised_at: Instant


class RecognitionDecided(Event, type="credentials.recognition.decided.v1", subject="recognition_id"):
    """outcome: recognised, refused."""

    recognition_id: UUID
    learner_id: UUID
    outcome: str
    credit_ids: tuple[UUID, ...] = ()
    reason_code: str
    decided_at: Instant


class RecognitionRevoked(Event, type="credentials.recognition.revoked.v1", subject="recognition_id"):
    """The credit it had led to was taken back."""

    recognition_id: UUID
    learner_id: UUID
    credit_ids: tuple[UUID, ...]
    reason_code: str
    revoked_at: Instant
