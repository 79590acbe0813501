"""The study record: one pure function over everything known about a learner, whatever order it arrived in."""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from enrolment.domain.facts import (
    AssessmentFailed,
    AssessmentPassed,
    AttemptsExhausted,
    AwardClaimed,
    AwardConferred,
    AwardEligibilityChanged,
    AwardLapsed,
    AwardRefused,
    AwardRescinded,
    AwardRestored,
    AwardReviewClosed,
    AwardReviewOpened,
    AwardSuperseded,
    AwardWithdrawn,
    BadgeIssued,
    BadgeRevoked,
    CreditAwarded,
    EnrolmentFact,
    Fact,
    FailRatified,
    MisconductDecided,
    MisconductOpened,
    SubmissionReceived,
    SubmissionVoided,
    TransferCompleted,
    TransferDecided,
    TransferRequested,
    TransferReturned,
    TransferWithdrawn,
    of_kind,
    revocations,
)
from enrolment.domain.study import (
    Award,
    Badge,
    Credit,
    Eligibility,
    Enrolled,
    NotActivated,
    Person,
    Result,
    Study,
    StudyRecord,
    Submission,
    Transfer,
)


def study_record(
    person: Person,
    enrolled: Iterable[Enrolled],
    not_activated: Iterable[NotActivated],
    facts: Collection[Fact],
) -> StudyRecord:
    """Return the study record of one learner. Marks of a voided submission are left out."""
    held = _credits(facts)
    return StudyRecord(
        learner_id=person.learner_id,
        display_name=person.display_name,
        registered_at=person.registered_at,
        enrolments=tuple(
            _study(enrolment, facts)
            for enrolment in sorted(enrolled, key=lambda one: (one.activated_at, one.enrolment_id))
        ),
        not_activated=tuple(sorted(not_activated, key=lambda one: (one.decided_at, one.order_line_id))),
        credits=held,
        credits_total=sum(credit.credits for credit in held if credit.status == "awarded"),
        badges=_badges(facts),
        awards=_awards(facts),
        transfers=_transfers(facts),
        award_eligibility=_eligibility(facts),
    )


def _study(enrolment: Enrolled, facts: Collection[Fact]) -> Study:
    mine = [fact for fact in facts if isinstance(fact, EnrolmentFact) and fact.enrolment_id == enrolment.enrolment_id]
    voided = {fact.subject for fact in of_kind(mine, SubmissionVoided)}
    return Study(
        enrolment_id=enrolment.enrolment_id,
        course=enrolment.course,
        status=enrolment.status,
        reason_code=enrolment.reason_code,
        regulations_version=enrolment.regulations_version,
        activated_at=enrolment.activated_at,
        progress=enrolment.progress,
        submissions=_submissions(mine, voided),
        results=_results(mine, voided),
    )


def _submissions(mine: Sequence[EnrolmentFact], voided: Collection[UUID]) -> tuple[Submission, ...]:
    received = of_kind(mine, SubmissionReceived)
    replaces = {fact.subject: fact.replaces for fact in received}
    # Events of former releases do not have what a file replaces: of theirs the one received last stands.
    last = {fact.attempt_no: fact.subject for fact in received if replaces[fact.subject] is None}
    current = {*last.values(), *(one for one, other in replaces.items() if other)} - set(replaces.values())
    return tuple(
        Submission(
            submission_id=fact.subject,
            window_id=fact.window_id,
            attempt_no=fact.attempt_no,
            sha256=fact.sha256,
            received_at=fact.at,
            status="voided" if fact.subject in voided else "received" if fact.subject in current else "superseded",
        )
        for fact in received
    )


def _results(mine: Sequence[EnrolmentFact], voided: Collection[UUID]) -> tuple[Result, ...]:
    """Return one result for each submission, as released last.

    Former releases published no event of their own when the board ratified a fail: an exhausted enrolment's results
    were then all ratified.
    """
    ratified = {fact.submission_id for fact in of_kind(mine, CreditAwarded, FailRatified)}
    exhausted = bool(of_kind(mine, AttemptsExhausted))
    decided = {fact.subject for fact in of_kind(mine, MisconductDecided)}
    frozen = {fact.submission_id for fact in of_kind(mine, MisconductOpened) if fact.subject not in decided}

    def standing(submission_id: UUID) -> str:
        if submission_id in frozen:
            return "frozen"
        return "ratified" if submission_id in ratified or exhausted else "provisional"

    released = {fact.subject: fact for fact in of_kind(mine, AssessmentPassed, AssessmentFailed)}
    results = [
        Result(
            submission_id=submission_id,
            attempt_no=fact.attempt_no,
            outcome="passed" if isinstance(fact, AssessmentPassed) else "failed",
            mark=fact.mark,
            capped=isinstance(fact, AssessmentPassed) and fact.capped,
            standing=standing(submission_id),
            released_at=fact.at,
        )
        for submission_id, fact in released.items()
        if submission_id not in voided
    ]
    return tuple(sorted(results, key=lambda result: (result.attempt_no, result.released_at, result.submission_id)))


def _credits(facts: Collection[Fact]) -> tuple[Credit, ...]:
    revoked = revocations(facts)
    awarded = {fact.subject: fact for fact in of_kind(facts, CreditAwarded)}
    return tuple(
        Credit(
            credit_id=credit_id,
            enrolment_id=fact.enrolment_id,
            course_code=fact.course_code,
            course_title=fact.course_title,
            module_family=fact.module_family,
            subject_name=fact.subject_name,
            credits=fact.credits,
            level=fact.level,
            mark=fact.mark,
            ratified_at=fact.at,
            status="revoked" if credit_id in revoked else "awarded",
            reason_code=revoked[credit_id].reason_code if credit_id in revoked else None,
        )
        for credit_id, fact in awarded.items()
    )


def _badges(facts: Collection[Fact]) -> tuple[Badge, ...]:
    revoked = {fact.subject for fact in of_kind(facts, BadgeRevoked)}
    issued = {fact.subject: fact for fact in of_kind(facts, BadgeIssued)}
    return tuple(
        Badge(
            badge_id=badge_id,
            credit_id=fact.credit_id,
            award_id=fact.award_id,
            credential_url=fact.credential_url,
            issued_at=fact.at,
            status="revoked" if badge_id in revoked else "issued",
        )
        for badge_id, fact in issued.items()
    )


F = TypeVar("F", bound=Fact)


def _latest(facts: Collection[Fact], kind: type[F]) -> dict[UUID, F]:
    return {fact.subject: fact for fact in of_kind(facts, kind)}


def _awards(facts: Collection[Fact]) -> tuple[Award, ...]:
    claimed, conferred = _latest(facts, AwardClaimed), _latest(facts, AwardConferred)
    closed, rescinded = _latest(facts, AwardReviewClosed), _latest(facts, AwardRescinded)
    decided = {fact.review_id for fact in of_kind(facts, AwardReviewClosed)}
    opened = of_kind(facts, AwardReviewOpened)
    under_review = {fact.subject for fact in opened if fact.review_id not in decided}
    # By which award it was superseded and restored, not by when: replicas' clocks differ.
    gone = {*rescinded, *(fact.rescinded_award_id for fact in of_kind(facts, AwardRestored))}
    superseded = {fact.subject: fact for fact in of_kind(facts, AwardSuperseded) if fact.superseded_by not in gone}
    ends = {
        "rescinded": rescinded,
        "superseded": superseded,
        "conferred": conferred,
        "withdrawn": _latest(facts, AwardWithdrawn),
        "refused": _latest(facts, AwardRefused),
        "lapsed": _latest(facts, AwardLapsed),
    }
    return tuple(
        Award(
            award_id=award_id,
            level=known.level,
            title=known.title,
            status=next((status for status, facts_ in ends.items() if award_id in facts_), "claimed"),
            under_review=award_id in under_review,
            credit_ids=_stands_on(known, closed.get(award_id)),
            classification=_classification(conferred.get(award_id), closed.get(award_id)),
            certificate_number=conferred[award_id].certificate_number if award_id in conferred else None,
            claimed_at=claimed[award_id].at if award_id in claimed else None,
            conferred_at=conferred[award_id].at if award_id in conferred else None,
            superseded_by=superseded[award_id].superseded_by if award_id in superseded else None,
        )
        for award_id, known in {**claimed, **conferred}.items()
    )


def _stands_on(known: AwardClaimed | AwardConferred, review: AwardReviewClosed | None) -> tuple[UUID, ...]:
    """Return the credit an award stands on: a review may have substituted other credit for what was lost."""
    return (review and review.credit_ids) or known.credit_ids


def _classification(conferral: AwardConferred | None, review: AwardReviewClosed | None) -> str | None:
    """Return an award's class: with other credit, after a review, it may have another one."""
    return (review and review.classification) or (conferral and conferral.classification)


def _transfers(facts: Collection[Fact]) -> tuple[Transfer, ...]:
    requested, decided = _latest(facts, TransferRequested), _latest(facts, TransferDecided)
    taken = {transfer_id: _taken(decision) for transfer_id, decision in decided.items()}
    ends = {
        "completed": _latest(facts, TransferCompleted),
        "returned": _latest(facts, TransferReturned),
        "accepted": {transfer_id: decided[transfer_id] for transfer_id, some in taken.items() if some},
        "refused": decided,
        "withdrawn": _latest(facts, TransferWithdrawn),
        "requested": requested,
    }

    def transfer(transfer_id: UUID, request: TransferRequested) -> Transfer:
        status, last = next((status, known[transfer_id]) for status, known in ends.items() if transfer_id in known)
        return Transfer(
            transfer_id=transfer_id,
            programme_id=request.programme_id,
            status=status,
            reason_code=last.reason_code if isinstance(last, TransferReturned | TransferWithdrawn) else None,
            credit_ids=request.credit_ids,
            accepted_credit_ids=taken.get(transfer_id, ()),
            requested_at=request.at,
            decided_at=decided[transfer_id].at if transfer_id in decided else None,
        )

    return tuple(transfer(transfer_id, request) for transfer_id, request in requested.items())


def _taken(decision: TransferDecided) -> tuple[UUID, ...]:
    return tuple(line.credit_id for line in decision.decisions if line.outcome != "refuse")


def _eligibility(facts: Collection[Fact]) -> tuple[Eligibility, ...]:
    """Return the titles on offer by level: all changes applied, in the order that credentials gave them."""
    titles: dict[str, set[str]] = {}
    for fact in sorted(of_kind(facts, AwardEligibilityChanged), key=lambda fact: fact.sequence):
        for level in fact.levels:
            held = titles.setdefault(level.level, set())
            held |= set(level.titles_added)
            held -= set(level.titles_removed)
    return tuple(Eligibility(level, tuple(sorted(held))) for level, held in sorted(titles.items()) if held)
