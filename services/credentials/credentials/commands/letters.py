"""Letters to a learner about their awards: one for each fact, no marks in the subject line."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from shared.database import now as now_of
from shared.ids import new_id
from shared.mail import write_letter


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
    restored: Sequence[str],
) -> None:
    paragraphs = [
        f"Your {award.title}, certificate {award.certificate_number}, was rescinded and must not be used any more.",
        f"Reason of the decision: {_words(review.reason_code)}.",
    ]
    if restored:
        paragraphs.append(f"You hold {_listed(restored)} again, as before it was superseded.")
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


async def post_notices(session: AsyncSession, *, limit: int) -> int:
    """Hand on letters whose addressee is known, oldest first; drop those to learners who were erased. How many."""
    await session.execute(
        delete(tables.Notice).where(
            tables.Notice.learner_id.in_(
                select(tables.Learner.learner_id).where(tables.Learner.anonymised_at.is_not(None))
            )
        )
    )
    rows = await session.execute(
        select(tables.Notice, tables.Person.email, tables.Person.display_name)
        .join(tables.Person, tables.Person.learner_id == tables.Notice.learner_id)
        .order_by(tables.Notice.notice_id)
        .limit(limit)
        .with_for_update(of=tables.Notice, skip_locked=True)
    )
    posted = 0
    for notice, email, name in rows:
        body = f"Dear {name},\n\n{notice.text}"
        await write_letter(session, kind=notice.kind, about=notice.about, to=email, subject=notice.subject, body=body)
        await session.delete(notice)
        posted += 1
    return posted
