"""Letters to a learner about their awards: one for each fact, no marks in the subject line."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from credentials.queries import Record
from shared.database import now as now_of
from shared.ids import new_id
from shared.mail import write_letter

NEWS_FOR: Final = timedelta(days=30)


async def tell(
    session: AsyncSession, learner_id: UUID, *, kind: str, about: object, subject: str, paragraphs: list[str]
) -> None:
    """Post a letter with this transaction; it goes out when the learner's address is known here. Once per fact."""
    await session.execute(
        insert(tables.Notice)
        .values(
            notice_id=new_id(),
            learner_id=learner_id,
            kind=kind,
            about=str(about),
            subject=subject,
            text="\n\n".join(paragraphs) + "\n",
            created_at=now_of(session),
        )
        .on_conflict_do_nothing(index_elements=["kind", "about"])
    )


async def tell_conferred(session: AsyncSession, award: tables.Award) -> None:
    await tell(
        session,
        award.learner_id,
        kind="award_conferred",
        about=award.award_id,
        subject=f"Your {award.title} has been conferred",
        paragraphs=[
            f"Your {award.title} was conferred. The certificate number is {award.certificate_number}.",
            "Its digital credential follows within minutes. You find it with your badges; anybody can check it.",
        ],
    )


async def tell_refused(session: AsyncSession, award: tables.Award) -> None:
    await tell(
        session,
        award.learner_id,
        kind="award_refused",
        about=award.award_id,
        subject=f"Your claim for {award.title} was not granted",
        paragraphs=[
            f"The registrar did not confer your {award.title}. Reason: {_words(award.end_reason)}.",
            "The credit you had claimed it with is free again. You may appeal against this decision.",
        ],
    )


async def tell_credit_revoked(session: AsyncSession, record: Record, credit_id: UUID) -> None:
    """Once for each revocation that is in force, when both it and the credit are known."""
    for line in record.lines:
        revocation = line.revocation
        if line.credit.credit_id == credit_id and revocation is not None and _is_news(session, revocation.revoked_at):
            await tell(
                session,
                record.learner_id,
                kind="credit_revoked",
                about=f"{credit_id} {revocation.revoked_at.isoformat()}",
                subject=f"A decision about your credit for {line.credit.course_title}",
                paragraphs=[
                    (
                        f"The board of examiners took back your credit for {line.credit.course_title}. "
                        f"Reason of the decision: {_words(revocation.reason_code)}."
                    ),
                    (
                        "Any digital badge of it is revoked, and whoever checks it sees that. The credit no longer "
                        "counts towards an award. You may appeal against this decision."
                    ),
                ],
            )


async def tell_credit_reinstated(
    session: AsyncSession, record: Record, credit_id: UUID, reinstated_at: datetime
) -> None:
    """Only where the revocation it undoes was heard before, and so told: else nothing was ever taken."""
    known = exists().where(tables.Revocation.credit_id == credit_id, tables.Revocation.revoked_at <= reinstated_at)
    if not await session.scalar(select(known)):
        return
    for line in record.lines:
        if line.credit.credit_id == credit_id and line.revocation is None and _is_news(session, reinstated_at):
            await tell(
                session,
                record.learner_id,
                kind="credit_reinstated",
                about=f"{credit_id} {reinstated_at.isoformat()}",
                subject=f"Your credit for {line.credit.course_title} counts again",
                paragraphs=[
                    f"The board of examiners gave back your credit for {line.credit.course_title}.",
                    "It counts towards awards again. A digital badge for it follows within minutes.",
                ],
            )


def _is_news(session: AsyncSession, at: datetime) -> bool:
    """What happened long ago is heard anew by a service that is built up again from its feeds: no letter about it."""
    return now_of(session) - at < NEWS_FOR


async def tell_review_opened(session: AsyncSession, review: tables.AwardReview, award: tables.Award) -> None:
    await tell(
        session,
        award.learner_id,
        kind="award_review_opened",
        about=review.review_id,
        subject=f"Your {award.title} is under review",
        paragraphs=[
            f"Credit that your {award.title}, certificate {award.certificate_number}, stands on was taken back.",
            (
                "The award is being reviewed. Nothing about it changes before a person has decided; you will be "
                "told. You see the review, and what is proposed, with your awards."
            ),
        ],
    )


async def tell_review_ended(session: AsyncSession, review: tables.AwardReview, award: tables.Award) -> None:
    """Nobody had to decide: the credit was given back."""
    await tell(
        session,
        award.learner_id,
        kind="award_review_closed",
        about=review.review_id,
        subject=f"Your {award.title} stands",
        paragraphs=[
            f"The credit that your {award.title} stands on was given back. The review is over.",
            "The award, its title and its certificate number stay as they are.",
        ],
    )


async def tell_substituted(session: AsyncSession, review: tables.AwardReview, award: tables.Award) -> None:
    await tell(
        session,
        award.learner_id,
        kind="award_review_closed",
        about=review.review_id,
        subject=f"Your {award.title} stands",
        paragraphs=[
            f"Credit that your {award.title} stood on was taken back. Other credit of yours has taken its place.",
            "The award, its title and its certificate number stay as they are.",
            f"Reason of the decision: {_words(review.reason_code)}. You may appeal against it.",
        ],
    )


async def tell_rescinded(
    session: AsyncSession,
    review: tables.AwardReview,
    award: tables.Award,
    offer: Sequence[str],
    restored: Sequence[tables.Award],
) -> None:
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
    await tell(
        session,
        award.learner_id,
        kind="award_review_closed",
        about=review.review_id,
        subject=f"A decision about your {award.title}",
        paragraphs=paragraphs,
    )


def _words(code: str | None) -> str:
    return str(code).replace("_", " ")


def _listed(titles: Sequence[str]) -> str:
    return "; ".join(titles)


def due_notices() -> Select[UUID]:
    """Letters whose addressee is known, or was erased; the oldest first."""
    notice, person, learner = tables.Notice, tables.Person, tables.Learner
    return (
        select(notice.notice_id)
        .outerjoin(person, person.learner_id == notice.learner_id)
        .outerjoin(learner, learner.learner_id == notice.learner_id)
        .where(or_(person.learner_id.is_not(None), learner.anonymised_at.is_not(None)))
        .order_by(notice.notice_id)
    )


async def post_notices(session: AsyncSession, notice_ids: Sequence[UUID]) -> None:
    """Hand on these letters; drop those to learners who were erased."""
    notice, person, learner = tables.Notice, tables.Person, tables.Learner
    rows = await session.execute(
        select(notice, person.email, person.display_name, learner.anonymised_at)
        .outerjoin(person, person.learner_id == notice.learner_id)
        .outerjoin(learner, learner.learner_id == notice.learner_id)
        .where(notice.notice_id.in_(notice_ids))
        .order_by(notice.notice_id)
        .with_for_update(of=notice, skip_locked=True)
    )
    for row, email, name, anonymised_at in rows:
        if anonymised_at is None:
            body = f"Dear {name},\n\n{row.text}"
            await write_letter(session, kind=row.kind, about=row.about, to=email, subject=row.subject, body=body)
        await session.delete(row)
