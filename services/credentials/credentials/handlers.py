"""Door 2: what we do about what others announced. Any order, any number of times."""

from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from credentials.commands import courses, erasure, facts, issuing, letters, partners, people, transfers
from credentials.domain import regulations
from credentials.domain.credit import Source
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
    LearnerAnonymised,
    LearnerContactChanged,
    LearnerNameChanged,
    LearnerRegistered,
)
from shared.events.gateway import PartnerClosed, PartnerRegistered
from shared.events.payments import DisputeClosed, DisputeOpened, PaymentRestored, PaymentReversed, PaymentSettled
from shared.messaging import Inbox, NotYet

inbox = Inbox("credentials")


@inbox.on(CoursePublished, CourseUpdated)
async def record_course(session: AsyncSession, course: CoursePublished) -> None:
    await issuing.record_achievement(
        session,
        tables.Achievement(
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
    """Nobody can plan with it any more; who studies it goes on."""
    await courses.stop_offering(session, withdrawn.course_id, withdrawn.withdrawn_at)


@inbox.on(PriceChanged)
async def note_price(session: AsyncSession, changed: PriceChanged) -> None:
    await facts.keep(
        session,
        tables.Price(
            price_id=changed.price_id,
            course_id=changed.course_id,
            amount_minor=changed.amount_minor,
            currency=changed.currency,
            valid_from=changed.valid_from,
        ),
    )


@inbox.on(SubjectRenamed)
async def rename_subject(session: AsyncSession, renamed: SubjectRenamed) -> None:
    """A label only: titles claimed from then on say the new name (told by `derive_renamed`); credit keeps its own."""
    await facts.keep(
        session,
        tables.SubjectName(
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
        tables.Learner(
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
async def forget_person(session: AsyncSession, anonymised: LearnerAnonymised) -> None:
    """Name and address go; the academic record stays, and its badges stand."""
    await people.forget_person(session, anonymised.learner_id, anonymised.anonymised_at)
    await erasure.erase_words(session, anonymised.learner_id)


@inbox.on(EnrolmentActivated)
async def pin_regulations(session: AsyncSession, activated: EnrolmentActivated) -> None:
    """The learner may claim under the regulations of that day as well as under those in force."""
    if activated.regulations_version not in regulations.versions.all:
        raise NotYet(f"the regulations {activated.regulations_version} are not known to this release")
    await facts.keep(
        session,
        tables.Pin(
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
    """It will bring no credit: plans no longer count on it."""
    at = ended.cancelled_at if isinstance(ended, EnrolmentCancelled) else ended.failed_at
    await courses.note_enrolment(session, ended.enrolment_id, ended.learner_id, ended.course_id, ended_at=at)


@inbox.on(AssessmentPassed, AssessmentFailed)
async def show_pending_credit(session: AsyncSession, released: AssessmentPassed | AssessmentFailed) -> None:
    """A pass is shown as pending until a board ratifies it; a fail released later takes its place."""
    await facts.keep_latest_result(
        session,
        tables.Result(
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
    """A refund or a withdrawal before the board sat: the pass never counted."""
    await facts.keep(
        session,
        tables.Voiding(submission_id=voided.submission_id, learner_id=voided.learner_id, voided_at=voided.voided_at),
    )


@inbox.on(CreditAwarded)
async def enter_credit(session: AsyncSession, awarded: CreditAwarded) -> None:
    """Ledger, badge, transcript and eligibility all follow from the fact."""
    record = await facts.keep_and_derive(
        session,
        awarded.learner_id,
        tables.Credit(
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
        await letters.tell_credit_revoked(session, record, awarded.credit_id)


@inbox.on(CreditRevoked)
async def revoke_credit(session: AsyncSession, revoked: CreditRevoked) -> None:
    """The badge is revoked; an award that stands on the credit waits for a person's decision."""
    record = await facts.keep_and_derive(
        session,
        revoked.learner_id,
        tables.Revocation(
            credit_id=revoked.credit_id,
            learner_id=revoked.learner_id,
            reason_code=revoked.reason_code,
            board_id=revoked.board_id,
            revoked_at=revoked.revoked_at,
            decided_by=revoked.decided_by,
        ),
    )
    if record is not None:
        await letters.tell_credit_revoked(session, record, revoked.credit_id)


@inbox.on(CreditReinstated)
async def give_credit_back(session: AsyncSession, reinstated: CreditReinstated) -> None:
    """It counts again, and a review that waited for it is over; an award already rescinded is claimed anew."""
    record = await facts.keep_and_derive(
        session,
        reinstated.learner_id,
        tables.Reinstatement(
            credit_id=reinstated.credit_id,
            learner_id=reinstated.learner_id,
            reason_code=reinstated.reason_code,
            board_id=reinstated.board_id,
            reinstated_at=reinstated.reinstated_at,
        ),
    )
    if record is not None:
        await letters.tell_credit_reinstated(session, record, reinstated.credit_id, reinstated.reinstated_at)


@inbox.on(DisputeOpened)
async def hold_claims_in_dispute(session: AsyncSession, opened: DisputeOpened) -> None:
    """Ratified credit stays; nothing new is claimed on it until the dispute is closed."""
    await facts.keep_span(
        session,
        tables.Dispute(dispute_id=opened.dispute_id, learner_id=opened.learner_id, opened_at=opened.opened_at),
    )


@inbox.on(DisputeClosed)
async def free_claims_after_dispute(session: AsyncSession, closed: DisputeClosed) -> None:
    """Where the money was lost, its reversal holds the claims from here on."""
    await facts.keep_span(
        session,
        tables.Dispute(dispute_id=closed.dispute_id, learner_id=closed.learner_id, closed_at=closed.closed_at),
    )


@inbox.on(MisconductOpened)
async def hold_claims_in_case(session: AsyncSession, opened: MisconductOpened) -> None:
    """Nothing is claimed while a panel may still take credit away."""
    await facts.keep_span(
        session,
        tables.MisconductCase(case_id=opened.case_id, learner_id=opened.learner_id, opened_at=opened.opened_at),
    )


@inbox.on(MisconductDecided)
async def free_claims_after_case(session: AsyncSession, decided: MisconductDecided) -> None:
    """Credit that the decision took is revoked by its own event."""
    await facts.keep_span(
        session,
        tables.MisconductCase(case_id=decided.case_id, learner_id=decided.learner_id, closed_at=decided.decided_at),
    )


@inbox.on(PaymentReversed)
async def hold_claims(session: AsyncSession, reversed_: PaymentReversed) -> None:
    """Ratified credit stays; nothing new is claimed on it until the money is settled."""
    await facts.keep_payment(
        session,
        tables.Payment(order_id=reversed_.order_id, learner_id=reversed_.learner_id, reversed_at=reversed_.reversed_at),
    )


@inbox.on(PaymentSettled, PaymentRestored)
async def free_claims(session: AsyncSession, returned: PaymentSettled | PaymentRestored) -> None:
    """Money that came after all ends the hold its loss had placed."""
    at = returned.settled_at if isinstance(returned, PaymentSettled) else returned.restored_at
    await facts.keep_payment(
        session, tables.Payment(order_id=returned.order_id, learner_id=returned.learner_id, settled_at=at)
    )


@inbox.on(PartnerRegistered)
async def record_partner(session: AsyncSession, registered: PartnerRegistered) -> None:
    """Learners may let it read their record, where its scopes include that."""
    await facts.keep(
        session,
        tables.Partner(
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
    """Which of our courses a degree elsewhere takes in: suggested to whoever decides on a transfer."""
    await transfers.record_programme(session, published)
