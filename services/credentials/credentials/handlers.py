"""Handlers: what we do about events that others announced, in any order and however often they are delivered."""

from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import courses, emails, facts, holds, issuing, people
from credentials.commands.projection import rebuild
from credentials.domain import regulations
from credentials.domain.credit import Source
from credentials.domain.holds import REFUNDED
from credentials.exchange.commands import erasure, partners, transfers
from credentials.queries.holds import has_brought_credit
from credentials.queries.records import other_credit_of
from credentials.tables.courses import Price
from credentials.tables.facts import (
    Achievement,
    Credit,
    MisconductCase,
    Payment,
    Pin,
    Reinstatement,
    Result,
    Revocation,
    SubjectName,
    Suspension,
    Voiding,
)
from credentials.tables.partners import Partner
from credentials.tables.people import Learner
from shared.database import advisory_lock
from shared.events.assessment import (
    AssessmentFailed,
    AssessmentPassed,
    CreditAwarded,
    CreditReinstated,
    CreditRevoked,
    MisconductDecided,
    MisconductOpened,
    SubmissionVoided,
)
from shared.events.catalogue import (
    CoursePublished,
    CourseUpdated,
    CourseWithdrawn,
    PriceChanged,
    ProgrammePublished,
    SubjectRenamed,
)
from shared.events.enrolment import (
    EnrolmentActivated,
    EnrolmentCancelled,
    EnrolmentFailed,
    EnrolmentReinstated,
    EnrolmentSuspended,
    LearnerAnonymised,
    LearnerContactChanged,
    LearnerNameChanged,
    LearnerRegistered,
)
from shared.events.gateway import PartnerClosed, PartnerRegistered
from shared.events.payments import PaymentRestored, PaymentReversed, PaymentSettled
from shared.messaging import Inbox, RetryLater

inbox = Inbox("credentials")


@inbox.on(CoursePublished, CourseUpdated)
async def record_course(session: AsyncSession, course: CoursePublished) -> None:
    await issuing.record_achievement(
        session,
        Achievement(
            achievement_id=course.course_version_id,
            course_id=course.course_id,
            kind="MicroCredential",
            name=course.title,
            code=course.code,
            description=course.description,
            criteria=course.criteria,
            credits=course.credits,
            level=course.level,
            skills={"items": [skill.model_dump() for skill in course.skills]},
            institution=course.institution_name,
        ),
    )
    await courses.offer_course(session, course)


@inbox.on(CourseWithdrawn)
async def stop_offering(session: AsyncSession, withdrawn: CourseWithdrawn) -> None:
    """Take a course off sale: plans no longer include it; whoever studies it goes on."""
    await courses.stop_offering(session, withdrawn.course_id, withdrawn.withdrawn_at)


@inbox.on(PriceChanged)
async def note_price(session: AsyncSession, changed: PriceChanged) -> None:
    await facts.keep(
        session,
        Price(
            price_id=changed.price_id,
            course_id=changed.course_id,
            amount_minor=changed.amount_minor,
            currency=changed.currency,
            valid_from=changed.valid_from,
        ),
    )


@inbox.on(SubjectRenamed)
async def rename_subject(session: AsyncSession, renamed: SubjectRenamed) -> None:
    """Store a subject's new name. Titles claimed from then on have it (see `derive_renamed`); credit keeps its own."""
    await facts.keep(
        session,
        SubjectName(
            subject_id=renamed.subject_id,
            effective_from=renamed.effective_from,
            award_name=renamed.award_name,
            holders_due=True,
        ),
    )


@inbox.on(LearnerRegistered)
async def record_learner(session: AsyncSession, registered: LearnerRegistered) -> None:
    await facts.keep(
        session,
        Learner(
            learner_id=registered.learner_id,
            name_version=registered.name_version,
            contact_version=1,
            unread=True,
            registered_at=registered.registered_at,
        ),
    )


@inbox.on(LearnerNameChanged)
async def note_name(session: AsyncSession, changed: LearnerNameChanged) -> None:
    await people.note_versions(session, changed.learner_id, name_version=changed.name_version)


@inbox.on(LearnerContactChanged)
async def note_address(session: AsyncSession, changed: LearnerContactChanged) -> None:
    await people.note_versions(session, changed.learner_id, contact_version=changed.contact_version)


@inbox.on(LearnerAnonymised)
async def erase_person(session: AsyncSession, anonymised: LearnerAnonymised) -> None:
    """Erase a learner's name, address and words; the academic record stays, and its badges stand."""
    await people.erase_person(session, anonymised.learner_id, anonymised.anonymised_at)
    await erasure.erase_words(session, anonymised.learner_id)


@inbox.on(EnrolmentActivated)
async def pin_regulations(session: AsyncSession, activated: EnrolmentActivated) -> None:
    """Let the learner claim under the regulations they enrolled under as well as under those in force."""
    if activated.regulations_version not in regulations.versions.all:
        raise RetryLater(f"the regulations {activated.regulations_version} are not known to this release")
    await facts.store_and_rebuild(
        session,
        activated.learner_id,
        Pin(
            enrolment_id=activated.enrolment_id,
            learner_id=activated.learner_id,
            regulations_version=activated.regulations_version,
            activated_at=activated.activated_at,
        ),
    )
    await courses.note_enrolment(
        session,
        activated.enrolment_id,
        activated.learner_id,
        activated.course_id,
        activated_at=activated.activated_at,
    )


@inbox.on(EnrolmentCancelled, EnrolmentFailed)
async def note_end_of_enrolment(session: AsyncSession, ended: EnrolmentCancelled | EnrolmentFailed) -> None:
    """Take an enrolment out of plans, since it will bring no credit; hold credit it has brought if its money went
    back, and nothing else any longer."""
    about = ended.enrolment_id, ended.learner_id, ended.course_id
    if isinstance(ended, EnrolmentFailed):
        await courses.note_enrolment(session, *about, ended_at=ended.failed_at)
        return
    await facts.keep_suspension(
        session,
        Suspension(
            enrolment_id=ended.enrolment_id, learner_id=ended.learner_id, sequence=ended.sequence, suspended=False
        ),
    )
    await courses.note_enrolment(
        session,
        *about,
        ended_at=ended.cancelled_at,
        order_id=ended.order_id,
        end_reason=ended.reason_code,
        refund_by=ended.decided_by,
    )
    if await has_brought_credit(session, ended.learner_id, ended.enrolment_id):
        if ended.reason_code == REFUNDED:
            await holds.note_refund(session, ended.learner_id, ended.enrolment_id, ended.decided_by)
        await rebuild(session, ended.learner_id)


@inbox.on(AssessmentPassed, AssessmentFailed)
async def show_pending_credit(session: AsyncSession, released: AssessmentPassed | AssessmentFailed) -> None:
    """Show a pass as pending until a board ratifies it; a fail released later replaces it."""
    await facts.keep_latest_result(
        session,
        Result(
            submission_id=released.submission_id,
            enrolment_id=released.enrolment_id,
            learner_id=released.learner_id,
            course_id=released.course_id,
            course_version_id=released.course_version_id,
            family=released.module_family,
            mark=released.mark,
            passed=isinstance(released, AssessmentPassed),
            released_at=released.released_at,
        ),
    )


@inbox.on(SubmissionVoided)
async def drop_pending_credit(session: AsyncSession, voided: SubmissionVoided) -> None:
    """Drop the pass of a submission that was voided before the board sat, as if it had never counted."""
    await facts.keep(
        session,
        Voiding(submission_id=voided.submission_id, learner_id=voided.learner_id, voided_at=voided.voided_at),
    )


@inbox.on(CreditAwarded)
async def enter_credit(session: AsyncSession, awarded: CreditAwarded) -> None:
    """Enter credit into the ledger; badge, transcript and eligibility all follow from it.

    An enrolment earns its credit once: further credit waits until the one that stands is revoked, and becomes a dead
    letter for a person if it never is.
    """
    await advisory_lock(session, "learner", awarded.learner_id)
    if (
        standing := await other_credit_of(session, awarded.learner_id, awarded.enrolment_id, awarded.credit_id)
    ) is not None:
        raise RetryLater(f"enrolment {awarded.enrolment_id} has earned the credit {standing}")
    record = await facts.store_and_rebuild(
        session,
        awarded.learner_id,
        Credit(
            credit_id=awarded.credit_id,
            learner_id=awarded.learner_id,
            enrolment_id=awarded.enrolment_id,
            submission_id=awarded.submission_id,
            course_id=awarded.course_id,
            course_version_id=awarded.course_version_id,
            course_code=awarded.course_code,
            course_title=awarded.course_title,
            family=awarded.module_family,
            subject_id=awarded.subject_id,
            subject_name=awarded.subject_name,
            credits=awarded.credits,
            level=awarded.level,
            mark=awarded.mark,
            attempt_no=awarded.attempt_no,
            source=Source.INTERNAL,
            board_id=awarded.board_id,
            regulations_version=awarded.regulations_version,
            ratified_at=awarded.ratified_at,
        ),
    )
    if record is not None:
        await emails.email_credit_revoked(session, record, awarded.credit_id)


@inbox.on(CreditRevoked)
async def revoke_credit(session: AsyncSession, revoked: CreditRevoked) -> None:
    """Revoke credit and its badge; an award that stands on it waits for a person's decision.

    Where the credit is not here and its enrolment has other credit that stands, one of the two services has lost
    history: the event waits for the credit, and becomes a dead letter for a person if that never comes.
    """
    await advisory_lock(session, "learner", revoked.learner_id)
    if await session.get(Credit, revoked.credit_id) is None and revoked.enrolment_id is not None:
        theirs = revoked.learner_id, revoked.enrolment_id, revoked.credit_id
        if (standing := await other_credit_of(session, *theirs)) is not None:
            raise RetryLater(f"enrolment {revoked.enrolment_id} has earned the credit {standing}, which stands")
    record = await facts.store_and_rebuild(
        session,
        revoked.learner_id,
        Revocation(
            credit_id=revoked.credit_id,
            learner_id=revoked.learner_id,
            reason_code=revoked.reason_code,
            board_id=revoked.board_id,
            revoked_at=revoked.revoked_at,
            decided_by=revoked.decided_by,
        ),
    )
    if record is not None:
        await emails.email_credit_revoked(session, record, revoked.credit_id)


@inbox.on(CreditReinstated)
async def reinstate_credit(session: AsyncSession, reinstated: CreditReinstated) -> None:
    """Count credit again, and close a review that waited for it; an award already rescinded must be claimed anew."""
    record = await facts.store_and_rebuild(
        session,
        reinstated.learner_id,
        Reinstatement(
            credit_id=reinstated.credit_id,
            learner_id=reinstated.learner_id,
            reason_code=reinstated.reason_code,
            board_id=reinstated.board_id,
            reinstated_at=reinstated.reinstated_at,
        ),
    )
    if record is not None:
        await emails.email_credit_reinstated(session, record, reinstated.credit_id, reinstated.reinstated_at)


@inbox.on(EnrolmentSuspended, EnrolmentReinstated)
async def hold_claims(session: AsyncSession, changed: EnrolmentSuspended | EnrolmentReinstated) -> None:
    """Hold claims while the money of an enrolment is gone or disputed; ratified credit stays."""
    await facts.keep_suspension(
        session,
        Suspension(
            enrolment_id=changed.enrolment_id,
            learner_id=changed.learner_id,
            sequence=changed.sequence,
            suspended=isinstance(changed, EnrolmentSuspended),
        ),
    )


@inbox.on(MisconductOpened)
async def hold_claims_in_case(session: AsyncSession, opened: MisconductOpened) -> None:
    """Hold claims while a panel may still take credit away."""
    await facts.keep_case(
        session,
        MisconductCase(case_id=opened.case_id, learner_id=opened.learner_id, opened_at=opened.opened_at),
    )


@inbox.on(MisconductDecided)
async def free_claims_after_case(session: AsyncSession, decided: MisconductDecided) -> None:
    """Free claims from a case. Credit that the decision took is revoked by an event of its own."""
    await facts.keep_case(
        session,
        MisconductCase(case_id=decided.case_id, learner_id=decided.learner_id, closed_at=decided.decided_at),
    )


@inbox.on(PaymentReversed)
async def note_lost_money(session: AsyncSession, reversed_: PaymentReversed) -> None:
    """Note that an order's money is gone: credit of a course that ended is held. While it may still be paid again,
    its enrolment is suspended, which holds claims."""
    gone = Payment(order_id=reversed_.order_id, learner_id=reversed_.learner_id, reversed_at=reversed_.reversed_at)
    await facts.keep_payment(session, gone)


@inbox.on(PaymentSettled, PaymentRestored)
async def note_returned_money(session: AsyncSession, returned: PaymentSettled | PaymentRestored) -> None:
    """Note that an order's money is there: credit that was held for want of it counts again."""
    at = returned.settled_at if isinstance(returned, PaymentSettled) else returned.restored_at
    await facts.keep_payment(
        session, Payment(order_id=returned.order_id, learner_id=returned.learner_id, settled_at=at)
    )


@inbox.on(PartnerRegistered)
async def record_partner(session: AsyncSession, registered: PartnerRegistered) -> None:
    """Store a partner. Learners may let it read their record, if its scopes include that."""
    await facts.keep(
        session,
        Partner(
            client_id=registered.client_id,
            name=registered.name,
            scopes=list(registered.scopes),
            registered_at=registered.registered_at,
        ),
    )


@inbox.on(PartnerClosed)
async def close_partner(session: AsyncSession, closed: PartnerClosed) -> None:
    await partners.close_partner(session, closed.client_id, closed.closed_at)


@inbox.on(ProgrammePublished)
async def record_programme(session: AsyncSession, published: ProgrammePublished) -> None:
    """Store which of our courses a degree elsewhere takes in, to suggest to whoever decides on a transfer."""
    await transfers.record_programme(session, published)
