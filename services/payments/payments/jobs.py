"""What payments does by itself. The provider is asked between transactions, never inside one."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.adapters.provider import PaymentProvider, ProviderRefused, ProviderUnavailable
from payments.commands import erasure, orders, refunds, settlement
from payments.domain.addresses import Addresses
from payments.domain.payments import PaymentFact, ProviderStatus, State
from payments.domain.policy import policy_at, policy_of
from payments.domain.refunds import ACTIVE, RefundFact, RefundStatus
from payments.tables import CheckoutAttempt, Notification, Order, Payment, Refund, RejectedNotification
from shared.jobs import Jobs, Work

log = logging.getLogger(__name__)
jobs = Jobs()

BATCH = 100
SETTLING = timedelta(minutes=1)
"""How long a refund whose creation timed out is left alone, before it is looked for at the provider."""


@jobs.every(15)
async def expire_orders(work: Work) -> None:
    """Orders nobody paid in time."""
    while True:
        async with work.database.transaction() as session:
            if await orders.expire_orders(session, BATCH) < BATCH:
                return


@jobs.every(10)
async def close_checkouts(work: Work) -> None:
    """Sessions that must not be paid any more: of expired or paid orders, or replaced by a newer one."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        due = (
            await session.scalars(
                select(CheckoutAttempt)
                .where(CheckoutAttempt.close_at <= work.now(), CheckoutAttempt.provider_session.is_not(None))
                .order_by(CheckoutAttempt.close_at)
                .limit(BATCH)
            )
        ).all()
    for attempt in due:
        try:
            await provider.expire_checkout(attempt.provider_session or "")
        except ProviderUnavailable as away:
            log.warning("the provider is away", extra={"error": away.detail})
            return  # what is left stays due
        except ProviderRefused as refusal:
            log.exception("checkout not closed", extra={"attempt": str(attempt.attempt_id), "error": refusal.detail})
        async with work.database.transaction() as session:
            await session.execute(
                update(CheckoutAttempt)
                .where(CheckoutAttempt.attempt_id == attempt.attempt_id, CheckoutAttempt.status == "open")
                .values(status="closed")
            )
            await session.execute(
                update(CheckoutAttempt).where(CheckoutAttempt.attempt_id == attempt.attempt_id).values(close_at=None)
            )


@jobs.every(5)
async def ask_about_payments(work: Work) -> None:
    """Payments whose facts came in an odd order, or of which nothing more was heard."""
    while await _ask_about_some(work) == BATCH:
        pass


async def _ask_about_some(work: Work) -> int:
    """How many were due; none where the provider is away."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        due = (
            await session.scalars(
                select(Payment).where(Payment.ask_at <= work.now()).order_by(Payment.ask_at).limit(BATCH)
            )
        ).all()
    for payment in due:
        fact: PaymentFact | None = None
        try:
            fact = await provider.fetch_payment(payment.reference)
        except ProviderUnavailable as away:
            log.warning("the provider is away", extra={"error": away.detail})
            return 0
        except ProviderRefused as refusal:
            log.exception("payment not told", extra={"payment": str(payment.payment_id), "error": refusal.detail})
        async with work.database.transaction() as session:
            await _asked_about_payment(session, work, payment)
            if fact is not None:
                await _apply(session, work, fact, payment.revision)
    return len(due)


async def _asked_about_payment(session: AsyncSession, work: Work, seen: Payment) -> None:
    """Plan the next question; the answer, applied next, may plan another."""
    order = await session.get_one(Order, seen.order_id, with_for_update=True)
    payment = await session.get_one(Payment, seen.payment_id, with_for_update=True)
    payment.ask_at = policy_of(order.regulations_version).next_question(payment.seen_at, work.now())


@jobs.every(15)
async def find_payments(work: Work) -> None:
    """Checkouts of which nothing was heard at all: their callbacks may be lost."""
    async with work.database.transaction() as session:
        due = (
            await session.scalars(
                select(CheckoutAttempt)
                .where(CheckoutAttempt.ask_at <= work.now())
                .order_by(CheckoutAttempt.ask_at)
                .limit(BATCH)
            )
        ).all()
    listing = _Listing(work.resource(PaymentProvider), due)
    for attempt in due:
        fact: PaymentFact | None = None
        try:
            fact = await listing.find(attempt)
        except ProviderUnavailable as away:
            log.warning("the provider is away", extra={"error": away.detail})
            return
        except ProviderRefused as refusal:
            log.exception("checkout not told", extra={"attempt": str(attempt.attempt_id), "error": refusal.detail})
        async with work.database.transaction() as session:
            await _asked_about_attempt(session, work, attempt)
            if fact is not None:
                await _apply(session, work, fact, 0)


class _Listing:
    """Finds the payment of a checkout: by its session, or, where its creation timed out, by our reference in the
    provider's list, which is then asked for once."""

    def __init__(self, provider: PaymentProvider, due: Sequence[CheckoutAttempt]) -> None:
        self._provider = provider
        self._since = min((attempt.started_at for attempt in due), default=None)
        self._listed: dict[str, PaymentFact] | None = None

    async def find(self, attempt: CheckoutAttempt) -> PaymentFact | None:
        if attempt.provider_session is not None:
            reference = await self._provider.confirm_checkout(attempt.provider_session)
            return await self._provider.fetch_payment(reference) if reference else None
        if self._listed is None and self._since is not None:
            self._listed = {fact.external_reference: fact for fact in await self._provider.list_payments(self._since)}
        return (self._listed or {}).get(attempt.reference)


async def _asked_about_attempt(session: AsyncSession, work: Work, seen: CheckoutAttempt) -> None:
    order = await session.get_one(Order, seen.order_id, with_for_update=True)
    attempt = await session.get_one(CheckoutAttempt, seen.attempt_id, with_for_update=True)
    policy = policy_of(order.regulations_version)
    following = policy.next_question(attempt.started_at, work.now())
    attempt.ask_at = following if following < order.expires_at + policy.ask_until_after_expiry else None


async def _apply(session: AsyncSession, work: Work, fact: PaymentFact, revision: int) -> None:
    provider: PaymentProvider = work.resource(PaymentProvider)
    await settlement.apply_payment_fact(
        session, provider.name, fact, work.resource(Addresses), asked_at_revision=revision
    )


@jobs.every(5)
async def submit_refunds(work: Work) -> None:
    """Ask the provider to pay back what is requested: after the payment is delivered, one at a time a payment."""
    while await _submit_some(work) == BATCH:
        pass


async def _submit_some(work: Work) -> int:
    """How many were due; none where the provider is away."""
    async with work.database.transaction() as session:
        other = select(Refund.payment_id).where(Refund.status.in_(ACTIVE)).scalar_subquery()
        due = (
            await session.scalars(
                select(Refund.refund_id)
                .join(Payment, Payment.payment_id == Refund.payment_id)
                .where(
                    ((Refund.status == RefundStatus.REQUESTED) & Refund.payment_id.not_in(other))
                    | (Refund.status == RefundStatus.SUBMITTING),
                    Refund.payment_id.not_in(queries.disputed_payments()),
                    Refund.ask_at.is_(None) | (Refund.ask_at <= work.now()),
                    Payment.state == State.SETTLED,
                )
                .order_by(Refund.requested_at, Refund.refund_id)
                .limit(BATCH)
            )
        ).all()
    for refund_id in due:
        try:
            await _submit(work, refund_id)
        except ProviderUnavailable as away:
            log.warning("the provider is away", extra={"error": away.detail})
            return 0  # what was begun is looked for first, next time
    return len(due)


async def _submit(work: Work, refund_id: UUID) -> None:
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        refund = await session.get_one(Refund, refund_id)
        await session.get_one(Order, refund.order_id, with_for_update=True)
        refund = await session.get_one(Refund, refund_id, with_for_update=True, populate_existing=True)
        payment = await session.get_one(Payment, refund.payment_id)
        begun = refund.status == RefundStatus.SUBMITTING
        active = exists().where(
            Refund.payment_id == payment.payment_id, Refund.status.in_(ACTIVE), Refund.refund_id != refund_id
        )
        if payment.state != State.SETTLED or await session.scalar(select(active)):
            return
        # The bank may take the money; then nothing is left to give back.
        if await queries.is_disputed(session, refund.order_id):
            return
        if not begun and refund.status != RefundStatus.REQUESTED:
            return
        refund.status, refund.ask_at = RefundStatus.SUBMITTING, work.now() + SETTLING

    try:
        # The provider's word is fetched before money moves.
        said = await provider.fetch_payment(payment.reference)
        if said.status is not ProviderStatus.DELIVERED:
            await _wait(work, refund, payment, said)
            return
        fact = await provider.find_refund(payment.reference, str(refund.refund_id)) if begun else None
        fact = fact or await provider.create_refund(payment.reference, refund.amount_minor, str(refund.refund_id))
    except ProviderRefused as refusal:
        async with work.database.transaction() as session:
            await session.get_one(Order, refund.order_id, with_for_update=True)
            row = await session.get_one(Refund, refund_id, with_for_update=True)
            await refunds.fail_refund(session, row, "provider_refused")
        log.exception("refund refused", extra={"refund": str(refund_id), "error": refusal.detail})
        return
    async with work.database.transaction() as session:
        await _apply_refund(session, work, fact, minutes=True)


async def _wait(work: Work, refund: Refund, payment: Payment, said: PaymentFact) -> None:
    """It is not delivered after all: the refund goes back into the queue and what was said is applied."""
    async with work.database.transaction() as session:
        await session.get_one(Order, refund.order_id, with_for_update=True)
        row = await session.get_one(Refund, refund.refund_id, with_for_update=True)
        row.status, row.ask_at = RefundStatus.REQUESTED, work.now() + SETTLING
        await session.flush()
        await _apply(session, work, said, payment.revision)


@jobs.every(15)
async def follow_refunds(work: Work) -> None:
    """Refunds of which nothing more was heard."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        due = (
            await session.scalars(
                select(Refund)
                .where(Refund.ask_at <= work.now(), Refund.provider_refund_id.is_not(None))
                .order_by(Refund.ask_at)
                .limit(BATCH)
            )
        ).all()
    for refund in due:
        try:
            fact = await provider.fetch_refund(refund.provider_refund_id or "")
        except ProviderUnavailable as away:
            log.warning("the provider is away", extra={"error": away.detail})
            return
        except ProviderRefused as refusal:
            log.exception("refund not told", extra={"refund": str(refund.refund_id), "error": refusal.detail})
            async with work.database.transaction() as session:
                row = await session.get_one(Refund, refund.refund_id, with_for_update=True)
                row.ask_at = work.now() + policy_at(work.now()).ask_every
            continue
        async with work.database.transaction() as session:
            await _apply_refund(session, work, fact, minutes=False)


async def _apply_refund(session: AsyncSession, work: Work, fact: RefundFact, *, minutes: bool) -> None:
    await refunds.apply_refund_fact(session, fact, fetched=True)
    refund = await session.scalar(select(Refund).where(Refund.provider_refund_id == fact.provider_refund_id))
    if refund is not None and refund.status == RefundStatus.SUBMITTED:
        policy = policy_at(work.now())
        refund.ask_at = work.now() + (policy.ask_after[0] if minutes else policy.ask_every)


@jobs.every(3600)
async def return_underpaid(work: Work) -> None:
    """What was too little, and was not made good in time, goes back."""
    async with work.database.transaction() as session:
        await settlement.give_up_underpaid(session, BATCH)


@jobs.every(86400)
async def forget_bodies(work: Work) -> None:
    """Raw callbacks hold payers' data; they and the record of rejected ones are kept only so long.

    What came about somebody after they were anonymised goes at once.
    """
    policy = policy_at(work.now())
    async with work.database.transaction() as session:
        await erasure.erase_callbacks(session)
        await session.execute(
            update(Notification)
            .where(
                Notification.received_at < work.now() - policy.keep_notification_bodies, Notification.body.is_not(None)
            )
            .values(body=None)
        )
        await session.execute(
            delete(RejectedNotification).where(RejectedNotification.last_at < work.now() - policy.keep_rejections)
        )
