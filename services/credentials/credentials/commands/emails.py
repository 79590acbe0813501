"""E-mails to a learner about their awards: one for each fact, no marks in the subject line."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Select, delete, exists, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.queries.people import keep_as_they_are
from credentials.queries.records import Record
from credentials.tables.awards import Award, AwardReview, CreditHold, PendingEmail
from credentials.tables.facts import Credit, Revocation
from credentials.tables.people import Learner, Person
from credentials.tables.sharing import Share
from shared.database import now as now_of
from shared.emails import enqueue_email
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail

PLATFORM: Final = "{platform}"
"""Stands in an e-mail's text for the platform's address, which the job that queues it fills in."""
NEWS_FOR: Final = timedelta(days=30)


_REASONS: Final = {
    "error": "an error in how it was assessed or recorded",
    "appeal": "the outcome of an appeal",
    "misconduct": "academic misconduct",
    "refunded": "what was paid for the course went back",
}
_LOST: Final = {False: "was taken back", True: "is held, for what was paid for it went back"}
"""What became of credit, in words, by whether its money went back."""


async def enqueue(
    session: AsyncSession, learner_id: UUID, *, kind: str, about: object, subject: str, paragraphs: list[str]
) -> None:
    """Store an e-mail to a learner with this transaction; it is queued once their address is known here.

    A second one of the same kind about the same subject is ignored.
    """
    await session.execute(
        insert(PendingEmail)
        .values(
            pending_email_id=new_id(),
            learner_id=learner_id,
            kind=kind,
            about=str(about),
            subject=subject,
            text="\n\n".join(paragraphs) + "\n",
            created_at=now_of(session),
        )
        .on_conflict_do_nothing(index_elements=["kind", "about"])
    )


async def email_conferred(session: AsyncSession, award: Award) -> None:
    """E-mail a learner that their award was conferred."""
    await enqueue(
        session,
        award.learner_id,
        kind="award_conferred",
        about=award.award_id,
        subject=f"Your {award.title} has been conferred",
        paragraphs=[
            f"Your {award.title} was conferred. The certificate number is {award.certificate_number}.",
            f"Anybody can check it by that number: {PLATFORM}/documents/{award.certificate_number}",
            "Its digital credential follows within minutes. You find it with your badges.",
        ],
    )


async def email_claim_held(session: AsyncSession, award: Award, now: datetime, *, unpaid: bool) -> None:
    """E-mail a learner that their claim is held. `unpaid`: none of its credit was revoked, but money went back."""
    await enqueue(
        session,
        award.learner_id,
        kind="claim_held",
        about=f"{award.award_id} {now.isoformat()}",
        subject=f"Your claim for {award.title} is held",
        paragraphs=[
            f"Credit that your claim for {award.title} stands on {_LOST[unpaid]}. The award cannot be conferred on it.",
            (
                "If the credit counts again before the claim lapses, it can be. You may also withdraw the claim: the "
                "rest of its credit is then free for another."
            ),
        ],
    )


async def email_refused(session: AsyncSession, award: Award, *, lost: bool) -> None:
    """E-mail a learner that their claim was refused. `lost`: some of its credit was revoked."""
    free = "What is left of the credit you had claimed it with" if lost else "The credit you had claimed it with"
    await enqueue(
        session,
        award.learner_id,
        kind="award_refused",
        about=award.award_id,
        subject=f"Your claim for {award.title} was not granted",
        paragraphs=[
            f"The registrar did not confer your {award.title}. Reason: {_words(award.end_reason)}.",
            f"{free} is free again. You may appeal against this decision.",
        ],
    )


async def email_credit_revoked(session: AsyncSession, record: Record, credit_id: UUID) -> None:
    """E-mail a learner about each revocation that is in force, once both it and the credit are known."""
    for line in record.lines:
        revocation = line.revocation
        if line.credit.credit_id == credit_id and revocation is not None and _is_news(session, revocation.revoked_at):
            await enqueue(
                session,
                record.learner_id,
                kind="credit_revoked",
                about=f"{credit_id} {revocation.revoked_at.isoformat()}",
                subject=f"A decision about your credit for {line.credit.course_title}",
                paragraphs=[
                    (
                        f"Your credit for {line.credit.course_title} was taken back. "
                        f"Reason of the decision: {_words(revocation.reason_code)}."
                    ),
                    (
                        "Any digital badge of it is revoked, and whoever checks it sees that. The credit no longer "
                        "counts towards an award. You may appeal against this decision."
                    ),
                ],
            )


async def email_credit_reinstated(
    session: AsyncSession, record: Record, credit_id: UUID, reinstated_at: datetime
) -> None:
    """E-mail a learner that credit was given back, if the revocation that this undoes arrived before: else nothing was
    lost."""
    known = exists().where(Revocation.credit_id == credit_id, Revocation.revoked_at <= reinstated_at)
    if not await session.scalar(select(known)):
        return
    for line in record.lines:
        if line.credit.credit_id == credit_id and line.revocation is None and _is_news(session, reinstated_at):
            await enqueue(
                session,
                record.learner_id,
                kind="credit_reinstated",
                about=f"{credit_id} {reinstated_at.isoformat()}",
                subject=f"Your credit for {line.credit.course_title} counts again",
                paragraphs=[
                    f"Your credit for {line.credit.course_title} was given back.",
                    "It counts towards awards again. A digital badge for it follows within minutes.",
                ],
            )


async def email_credit_held(session: AsyncSession, credit: Credit, hold: CreditHold) -> None:
    """E-mail a learner that credit is held because its money went back."""
    if not _is_news(session, hold.held_at):
        return
    await enqueue(
        session,
        credit.learner_id,
        kind="credit_held",
        about=f"{credit.credit_id} {hold.held_at.isoformat()}",
        subject=f"Your credit for {credit.course_title} is held",
        paragraphs=[
            (
                f"What was paid for {credit.course_title} went back, so your credit for it counts for nothing new: no "
                "award can be claimed and nothing transferred on it."
            ),
            "It stays on your record, with its badge. A person decides what becomes of it; we will e-mail you.",
        ],
    )


async def email_credit_released(session: AsyncSession, credit: Credit, hold: CreditHold) -> None:
    """E-mail a learner that credit which was held counts again."""
    await enqueue(
        session,
        credit.learner_id,
        kind="credit_released",
        about=f"{credit.credit_id} {hold.held_at.isoformat()}",
        subject=f"Your credit for {credit.course_title} counts again",
        paragraphs=[f"Your credit for {credit.course_title} is held no more. It counts towards awards again."],
    )


def _is_news(session: AsyncSession, at: datetime) -> bool:
    """Return whether something happened recently: a service that is built up again from its feeds e-mails nobody of old
    facts."""
    return now_of(session) - at < NEWS_FOR


async def email_review_opened(session: AsyncSession, review: AwardReview, award: Award, *, unpaid: bool) -> None:
    """E-mail a learner that their award is under review. `unpaid`: as for `email_claim_held`."""
    await enqueue(
        session,
        award.learner_id,
        kind="award_review_opened",
        about=review.review_id,
        subject=f"Your {award.title} is under review",
        paragraphs=[
            f"Credit that your {award.title}, certificate {award.certificate_number}, stands on {_LOST[unpaid]}.",
            (
                "The award is being reviewed. Nothing about it changes before a person has decided; you will be "
                "e-mailed. You see the review, and what is proposed, with your awards."
            ),
        ],
    )


async def email_review_ended(session: AsyncSession, review: AwardReview, award: Award) -> None:
    """E-mail a learner that the review ended without a decision, since the credit counts again."""
    await enqueue(
        session,
        award.learner_id,
        kind="award_review_closed",
        about=review.review_id,
        subject=f"Your {award.title} stands",
        paragraphs=[
            f"The credit that your {award.title} stands on counts again. The review is over.",
            "The award, its title and its certificate number stay as they are.",
        ],
    )


async def email_substituted(session: AsyncSession, review: AwardReview, award: Award) -> None:
    """E-mail a learner that other credit took the place of what their award had lost."""
    await enqueue(
        session,
        award.learner_id,
        kind="award_review_closed",
        about=review.review_id,
        subject=f"Your {award.title} stands",
        paragraphs=[
            f"Credit that your {award.title} stood on counts no more. Other credit of yours has taken its place.",
            "The award, its title and its certificate number stay as they are.",
            f"Reason of the decision: {_words(review.reason_code)}. You may appeal against it.",
        ],
    )


async def email_superseded(session: AsyncSession, review: AwardReview, award: Award, higher: Award) -> None:
    """E-mail a learner that a higher award superseded the one under review."""
    await enqueue(
        session,
        award.learner_id,
        kind="award_review_closed",
        about=review.review_id,
        subject=f"Your {award.title} is part of your {higher.title}",
        paragraphs=[
            f"Your {higher.title} stands on credit of your {award.title}. That award is superseded by it from now on.",
            "It was rightly conferred: its certificate still verifies, as superseded.",
            f"Reason of the decision: {_words(review.reason_code)}. You may appeal against it.",
        ],
    )


async def email_rescinded(
    session: AsyncSession,
    review: AwardReview,
    award: Award,
    offer: Sequence[str],
    restored: Sequence[Award],
) -> None:
    """E-mail a learner that their award was rescinded, with the titles on offer and the awards that stand again."""
    paragraphs = [
        f"Your {award.title}, certificate {award.certificate_number}, was rescinded and must not be used any more.",
        f"Reason of the decision: {_words(review.reason_code)}.",
    ]
    if restored:
        paragraphs.append(f"You hold {_listed([one.title for one in restored])} again, as before it was superseded.")
    if reviewed := [one.title for one in restored if one.under_review_since is not None]:
        paragraphs.append(f"Under review itself, because it lost credit too: {_listed(reviewed)}.")
    if offer:
        paragraphs.append(f"With the credit you still have you may claim: {_listed(offer)}.")
    paragraphs.append("You may appeal against this decision.")
    await enqueue(
        session,
        award.learner_id,
        kind="award_review_closed",
        about=review.review_id,
        subject=f"A decision about your {award.title}",
        paragraphs=paragraphs,
    )


async def email_locked(session: AsyncSession, share: Share) -> None:
    """E-mail a learner that their link was locked after wrong PINs."""
    await enqueue(
        session,
        share.learner_id,
        kind="share_locked",
        about=share.share_id,
        subject="A link to your record was locked",
        paragraphs=[
            f"Somebody who has your link for {share.recipient} gave a wrong PIN too often. It is locked for good.",
            "Nothing was shown. If you still want to share it, make a new link and give its PIN by another way.",
        ],
    )


def _words(code: str | None) -> str:
    return _REASONS.get(str(code), str(code).replace("_", " "))


def _listed(titles: Sequence[str]) -> str:
    return "; ".join(titles)


def due_emails() -> Select[UUID]:
    """Select e-mails whose addressee is known, or was erased; the oldest first."""
    pending, person, learner = PendingEmail, Person, Learner
    return (
        select(pending.pending_email_id)
        .outerjoin(person, person.learner_id == pending.learner_id)
        .outerjoin(learner, learner.learner_id == pending.learner_id)
        .where(or_(person.learner_id.is_not(None), learner.anonymised_at.is_not(None)))
        .order_by(pending.pending_email_id)
    )


async def queue_emails(session: AsyncSession, pending_ids: Sequence[UUID], platform: str) -> None:
    """Queue these e-mails for sending, without those to learners who were erased. `platform` is the platform's
    address."""
    pending, person, learner = PendingEmail, Person, Learner
    theirs = select(pending.learner_id).where(pending.pending_email_id.in_(pending_ids))
    await keep_as_they_are(session, theirs)
    rows = await session.execute(
        select(pending, person.email, person.display_name, learner.anonymised_at)
        .outerjoin(person, person.learner_id == pending.learner_id)
        .outerjoin(learner, learner.learner_id == pending.learner_id)
        .where(pending.pending_email_id.in_(pending_ids))
        .order_by(pending.pending_email_id)
        .with_for_update(of=pending, skip_locked=True, key_share=True)
    )
    for row, email, name, anonymised_at in rows:
        if anonymised_at is None:
            body = f"Dear {name},\n\n{row.text.replace(PLATFORM, platform)}"
            about = f"{row.learner_id} {row.about}"
            await enqueue_email(session, kind=row.kind, about=about, to=email, subject=row.subject, body=body)
        await session.delete(row)


async def erase_emails(session: AsyncSession, learner_id: UUID, email: str | None) -> None:
    """Delete the e-mails that were queued for a learner, sent or not."""
    await session.execute(
        delete(QueuedEmail).where(or_(QueuedEmail.recipient == email, QueuedEmail.about.startswith(f"{learner_id} ")))
    )
