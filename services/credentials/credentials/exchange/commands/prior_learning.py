"""Apply for recognition of prior learning with evidence; decide; take recognised credit back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import emails, facts
from credentials.commands.people import must_be_present
from credentials.commands.projection import rebuild
from credentials.domain import policies
from credentials.domain.credit import Source
from credentials.domain.days import day_of
from credentials.exchange.domain import prior_learning
from credentials.exchange.domain.prior_learning import PriorLearningState, Unit
from credentials.exchange.queries.prior_learning import (
    credit_of_prior_learning,
    evidence_of,
    external_credits,
    subject_name,
)
from credentials.tables.facts import Credit, Revocation
from credentials.tables.prior_learning import Evidence, PriorLearning
from shared.access import refuse_own
from shared.database import Unknown, advisory_lock, fetch
from shared.database import now as now_of
from shared.events.credentials import CreditRecognised, RecognitionDecided, RecognitionRevoked
from shared.file_checks import FileKind, plan_check
from shared.ids import new_id
from shared.messaging import publish
from shared.sessions import despite_contention, outside_transaction
from shared.storage import Storage
from shared.uploads import Received, Upload, UploadPolicy, receive, received_before


@dataclass(frozen=True)
class PriorLearningClaim:
    """What a learner says they learned elsewhere. `credits` are as credits are counted here."""

    institution: str
    title: str
    credits: int
    level: int
    completed_on: date
    statement: str


async def open_application(session: AsyncSession, learner_id: UUID, claim: PriorLearningClaim) -> PriorLearning:
    """Open an application as a draft, to which evidence is added.

    Raises HolderAnonymised, NotYetCompleted, LearnedTooLongAgo.
    """
    await must_be_present(session, learner_id)
    now = now_of(session)
    prior_learning.check_age(claim.completed_on, day_of(now), policies.in_force(now).recognition)
    application = PriorLearning(
        recognition_id=new_id(),
        learner_id=learner_id,
        institution=claim.institution,
        title=claim.title,
        credits_claimed=claim.credits,
        level_claimed=claim.level,
        completed_on=claim.completed_on,
        statement=claim.statement,
        state=PriorLearningState.DRAFT,
        created_at=now,
    )
    session.add(application)
    await session.flush()
    return application


async def add_evidence(
    session: AsyncSession,
    storage: Storage,
    application: PriorLearning,
    upload: Upload,
    times: UploadPolicy,
) -> Evidence:
    """Check and store a file as evidence; the same bytes again are the same file, of which the last copy is kept.

    Raises HolderAnonymised, NotDraft, TooMuchEvidence, and the errors of `shared.file_checks`.
    """
    policy = policies.in_force(now_of(session)).recognition
    recognition_id, learner_id = application.recognition_id, application.learner_id
    _must_be_draft(application)
    name, kind = plan_check(upload.filename, upload.declared_size, policy.file_kinds, policy.longest_file_bytes)
    async with outside_transaction(session):
        received = await receive(
            storage,
            upload.chunks,
            kind,
            policy.longest_file_bytes,
            within=times.longest,
            now=lambda: now_of(session),
        )

    async def record() -> Evidence:
        await must_be_present(session, learner_id)
        return await _record(session, recognition_id, name, kind, received)

    return await despite_contention(session, record)


async def _record(
    session: AsyncSession, recognition_id: UUID, name: str, kind: FileKind, received: Received
) -> Evidence:
    policy = policies.in_force(now_of(session)).recognition
    application = await fetch(session, PriorLearning, recognition_id, lock=True)
    _must_be_draft(application)
    held = await evidence_of(session, recognition_id)
    if known := received_before(held, received):
        return known
    if len(held) >= policy.most_files:
        raise prior_learning.TooMuchEvidence(f"an application has {policy.most_files} files at most")
    evidence = Evidence(
        evidence_id=new_id(),
        recognition_id=recognition_id,
        learner_id=application.learner_id,
        filename=name,
        media_type=kind.media_type,
        size=received.content.size,
        sha256=received.content.sha256,
        storage_key=received.key,
        received_at=received.at,
    )
    session.add(evidence)
    await session.flush()
    return evidence


async def submit_application(session: AsyncSession, application: PriorLearning) -> None:
    """Submit a draft for decision. Raises NotDraft, EvidenceMissing."""
    _must_be_draft(application)
    if not await evidence_of(session, application.recognition_id):
        raise prior_learning.EvidenceMissing("add evidence first: a transcript or certificate, for instance")
    application.state, application.submitted_at = PriorLearningState.SUBMITTED, now_of(session)


def withdraw_application(application: PriorLearning) -> None:
    """Withdraw an application that is not decided yet. Raises NotSubmitted."""
    if application.state not in (PriorLearningState.DRAFT, PriorLearningState.SUBMITTED):
        raise prior_learning.NotSubmitted(f"this application is {application.state}")
    application.state = PriorLearningState.WITHDRAWN


async def recognise(
    session: AsyncSession, recognition_id: UUID, units: Sequence[Unit], *, reason_code: str, reason: str, by: UUID
) -> PriorLearning:
    """Enter the units into the ledger as credit: by subject, without a mark, counted for awards and not for their
    class.

    Raises Unknown, OwnApplication, NotSubmitted, UnitsOutOfBounds, ExternalCeilingExceeded, SubjectNotInCatalogue.
    """
    application = await _to_decide(session, recognition_id, by)
    now = now_of(session)
    policy, version = policies.in_force(now).recognition, policies.in_force(now).version
    held = await external_credits(session, application.learner_id)
    prior_learning.check_units(units, application.credits_claimed, held, policy)
    entered: list[UUID] = []
    for number, unit in enumerate(units, start=1):
        subject = await subject_name(session, unit.subject_id, now)
        if subject is None:
            raise prior_learning.SubjectNotInCatalogue(f"no subject {unit.subject_id} is known here")
        credit = Credit(
            credit_id=new_id(),
            learner_id=application.learner_id,
            course_code=f"RPL-{number}",
            course_title=unit.title,
            family=f"rpl:{recognition_id}:{number}",
            subject_id=unit.subject_id,
            subject_name=subject,
            credits=policy.module_credits,
            level=policy.framework_level,
            source=Source.EXTERNAL,
            board_id=recognition_id,
            regulations_version=version,
            ratified_at=now,
        )
        await facts.keep(session, credit)
        entered.append(credit.credit_id)
        publish(
            session,
            CreditRecognised(
                credit_id=credit.credit_id,
                recognition_id=recognition_id,
                learner_id=application.learner_id,
                subject_id=unit.subject_id,
                credits=credit.credits,
                level=credit.level,
                recognised_at=now,
            ),
        )
    await _decide(session, application, PriorLearningState.RECOGNISED, reason_code, reason, by, entered)
    await rebuild(session, application.learner_id)
    return application


async def refuse(
    session: AsyncSession, recognition_id: UUID, *, reason_code: str, reason: str, by: UUID
) -> PriorLearning:
    """Refuse an application. Raises Unknown, OwnApplication, NotSubmitted."""
    application = await _to_decide(session, recognition_id, by)
    await _decide(session, application, PriorLearningState.REFUSED, reason_code, reason, by, [])
    return application


async def revoke(session: AsyncSession, recognition_id: UUID, *, reason_code: str, by: UUID) -> PriorLearning:
    """Take recognised credit back; awards that stand on it go to review.

    Raises Unknown, OwnApplication, NotRecognised.
    """
    application = await _lock_and_fetch(session, recognition_id, by)
    if application.state != PriorLearningState.RECOGNISED:
        raise prior_learning.NotRecognised(f"this application is {application.state}")
    now = now_of(session)
    application.state, application.revoked_at = PriorLearningState.REVOKED, now
    credits_ = await credit_of_prior_learning(session, recognition_id)
    for credit in credits_:
        await facts.keep(
            session,
            Revocation(
                credit_id=credit.credit_id,
                revoked_at=now,
                learner_id=credit.learner_id,
                reason_code=reason_code,
                board_id=recognition_id,
                decided_by=str(by),
            ),
        )
    publish(
        session,
        RecognitionRevoked(
            recognition_id=recognition_id,
            learner_id=application.learner_id,
            credit_ids=tuple(credit.credit_id for credit in credits_),
            reason_code=reason_code,
            revoked_at=now,
        ),
    )
    await emails.enqueue(
        session,
        application.learner_id,
        kind="recognition_revoked",
        about=recognition_id,
        subject="Recognised credit was taken back",
        paragraphs=[
            f"The credit recognised for {application.title}, {application.institution}, was taken back.",
            "You may appeal against this decision.",
        ],
    )
    await rebuild(session, application.learner_id)
    return application


def _must_be_draft(application: PriorLearning) -> None:
    """Raise NotDraft unless the application is a draft."""
    if application.state != PriorLearningState.DRAFT:
        raise prior_learning.NotDraft(f"this application is {application.state}")


def _must_be_anothers(session: AsyncSession, application: PriorLearning, by: UUID) -> None:
    """Raise OwnApplication if the application is that of the person who decides."""
    own = prior_learning.OwnApplication("somebody else must decide on this application")
    refuse_own(session, own, application.learner_id, by)


async def _lock_and_fetch(session: AsyncSession, recognition_id: UUID, by: UUID) -> PriorLearning:
    """Take the advisory lock of the applicant, and return their application if it was submitted.

    Raises Unknown, OwnApplication.
    """
    application = await fetch(session, PriorLearning, recognition_id)
    if application.submitted_at is None:
        raise Unknown(f"no application {recognition_id}")
    _must_be_anothers(session, application, by)
    await advisory_lock(session, "learner", application.learner_id)
    return await fetch(session, PriorLearning, recognition_id, lock=True)


async def _to_decide(session: AsyncSession, recognition_id: UUID, by: UUID) -> PriorLearning:
    """Return an application that waits for a decision, as `_lock_and_fetch` does. Raises NotSubmitted besides."""
    application = await _lock_and_fetch(session, recognition_id, by)
    if application.state != PriorLearningState.SUBMITTED:
        raise prior_learning.NotSubmitted(f"this application is {application.state}")
    return application


async def _decide(
    session: AsyncSession,
    application: PriorLearning,
    state: PriorLearningState,
    reason_code: str,
    reason: str,
    by: UUID,
    credit_ids: Sequence[UUID],
) -> None:
    now = now_of(session)
    application.state, application.decided_at, application.decided_by = state, now, str(by)
    application.reason_code, application.reason = reason_code, reason
    publish(
        session,
        RecognitionDecided(
            recognition_id=application.recognition_id,
            learner_id=application.learner_id,
            outcome=state,
            credit_ids=tuple(credit_ids),
            reason_code=reason_code,
            decided_at=now,
        ),
    )
    await emails.enqueue(
        session,
        application.learner_id,
        kind="recognition_decided",
        about=application.recognition_id,
        subject="Your application for recognition was decided",
        paragraphs=[
            f"This is about {application.title}, {application.institution}.",
            reason,
            "You may appeal against this decision.",
        ],
    )
