"""Receiving the provider's callbacks: stored raw, applied once."""

import logging

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.adapters.provider import Unreadable
from payments.commands import refund_facts, unmatched
from payments.commands.erasure import about_anonymised
from payments.commands.refund_facts import apply_refund_fact
from payments.commands.settlement import apply_payment_fact, ask_again
from payments.domain.payments import PaymentFact
from payments.domain.public_urls import PublicUrls
from payments.domain.refunds import RefundFact
from payments.domain.unmatched import Why
from payments.queries.payments import payment_by_reference
from payments.tables import Notification, RejectedNotification
from shared.committed_log import log_once_committed
from shared.database import now
from shared.digests import Digests

log = logging.getLogger(__name__)


async def receive_notification(
    session: AsyncSession,
    provider: str,
    body: bytes,
    fact: PaymentFact | RefundFact | Unreadable,
    public_urls: PublicUrls,
    digests: Digests,
) -> str:
    """Store a signed callback and apply it, in one transaction; return the outcome in a word.

    The same bytes, or the same event of the same subject and sum, have an effect once: of two at once the second waits
    for the first and then finds it. Where the provider must be asked, a job asks it after the commit.
    """
    digest = digests.of(body)
    subject, event_type, event_date = _event_key(fact)
    stored = await session.scalar(
        insert(Notification)
        .values(
            body_sha256=digest,
            provider=provider,
            subject=subject,
            event_type=event_type,
            event_date=event_date,
            body=body,
            received_at=now(session),
        )
        .on_conflict_do_nothing()
        .returning(Notification.body_sha256)
    )
    if stored is None:
        return "duplicate"
    match fact:
        case PaymentFact():
            outcome = await apply_payment_fact(session, provider, fact, public_urls)
        case RefundFact():
            outcome = await apply_refund_fact(session, provider, fact)
        case Unreadable():
            log_once_committed(session, log, logging.ERROR, "notification not understood", {"why": fact.why})
            outcome = await _ask_about(session, provider, fact, digest)
    values: dict[str, object] = {"outcome": outcome}
    if subject is not None and await about_anonymised(session, [(provider, str(subject))]):
        values["body"] = None  # it holds a payer's data, and is applied
    await session.execute(update(Notification).where(Notification.body_sha256 == digest).values(values))
    return outcome


async def _ask_about(session: AsyncSession, provider: str, said: Unreadable, digest: bytes) -> str:
    """Show finance a callback that cannot be read, and plan to ask the provider about the refund or payment it
    names."""
    payment = await refund_facts.ask_again(session, said.refund_reference, said.our_reference)
    known = payment is not None
    if not known and said.reference:
        known = await ask_again(session, provider, said.reference, said.our_reference)
        payment = await payment_by_reference(session, provider, said.reference) if known else None
    await unmatched.show_to_finance(
        session,
        provider,
        said.refund_reference or said.reference or digest.hex(),
        Why.NOT_UNDERSTOOD,
        external_reference=said.our_reference or None,
        order_id=payment.order_id if payment else None,
        payment_id=payment.payment_id if payment else None,
    )
    return "asking" if known else "not_understood"


def _event_key(fact: PaymentFact | RefundFact | Unreadable) -> tuple[object, object, object]:
    match fact:
        case PaymentFact():
            event_key = f"payment_{fact.word or fact.status} {fact.amount_minor} {fact.currency}"
            return fact.reference, event_key, fact.at
        case RefundFact():
            event_key = f"refund_{fact.word or fact.status} {fact.amount_minor} {fact.currency}"
            return fact.provider_refund_id, event_key, fact.at
        case Unreadable():
            return None, None, None


async def reject_notification(session: AsyncSession, body: bytes, digests: Digests) -> None:
    """Record that an unsigned or wrongly signed callback came; nothing of its content is kept."""
    at = now(session)
    log_once_committed(session, log, logging.WARNING, "notification rejected", {"size": len(body)})
    statement = insert(RejectedNotification).values(
        body_sha256=digests.of(body), size=len(body), times=1, first_at=at, last_at=at
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["body_sha256"], set_={"times": RejectedNotification.times + 1, "last_at": at}
        )
    )
