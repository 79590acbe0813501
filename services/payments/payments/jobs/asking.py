"""Jobs that ask the provider about checkouts and payments of which it reports nothing, and close its sessions."""

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from payments.adapters.provider import PaymentProvider, ProviderRefused, ProviderUnavailable
from payments.commands.settlement import apply_payment_fact
from payments.domain.payments import PaymentFact
from payments.domain.policy import policy_of
from payments.domain.public_urls import PublicUrls
from payments.jobs.paging import ListIncomplete, Walk
from payments.queries.payments import payment_by_reference
from payments.tables import CheckoutAttempt, Order, Payment
from shared.clock import later
from shared.due_rows import for_each
from shared.jobs import JobFunction, Work

log = logging.getLogger(__name__)


async def close_checkouts(work: Work) -> None:
    """Close sessions in which nobody must pay any more: of expired or paid orders, or replaced by a newer one.

    One of which the provider says nothing is asked about until it ends by itself."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    due = (
        select(CheckoutAttempt.attempt_id)
        .where(CheckoutAttempt.close_at <= work.now(), CheckoutAttempt.provider_session.is_not(None))
        .order_by(CheckoutAttempt.close_at)
    )

    async def close(attempt_id: UUID) -> None:
        async with work.database.transaction() as session:
            attempt = await session.get_one(CheckoutAttempt, attempt_id)
        try:
            await provider.expire_checkout(attempt.provider_session or "")
        except ProviderRefused as error:
            log.exception("checkout not closed", extra={"attempt": str(attempt_id), "error": error.detail})
        except ProviderUnavailable:
            if attempt.session_expires_at is None or attempt.session_expires_at > work.now():
                raise
        async with work.database.transaction() as session:
            attempt = await session.get_one(CheckoutAttempt, attempt_id, with_for_update={"key_share": True})
            attempt.close_at = None
            if attempt.status == "open":
                attempt.status = "closed"

    await for_each(work, "close_checkouts", due, close)


async def ask_about_payments(work: Work) -> None:
    """Ask about payments whose facts contradict each other, or of which nothing more was reported."""
    due = select(Payment.payment_id).where(Payment.ask_at <= work.now()).order_by(Payment.ask_at)

    await for_each(work, "ask_about_payments", due, partial(ask_about_payment, work))


async def ask_about_payment(work: Work, payment_id: UUID) -> PaymentFact:
    """Apply what the provider reports of a payment now, and return it."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        seen = await session.get_one(Payment, payment_id)
    fact = await provider.fetch_payment(seen.reference)
    async with work.database.transaction() as session:
        # Plan the next question; the answer, applied next, may plan another.
        order = await session.get_one(Order, seen.order_id, with_for_update={"key_share": True})
        payment = await session.get_one(Payment, payment_id, with_for_update={"key_share": True})
        payment.ask_at = policy_of(order.regulations_version).next_question(payment.seen_at, work.now())
        await _apply(session, work, fact, seen.revision)
    return fact


async def take_in_payment(work: Work, reference: str) -> None:
    """Apply what the provider reports now of a payment that is not known here."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    fact = await provider.fetch_payment(reference)
    async with work.database.transaction() as session:
        await _apply(session, work, fact, 0)


async def find_payments(work: Work) -> None:
    """Look for payments of checkouts of which nothing was reported, or nothing since a card was declined: their
    callbacks may be lost."""
    due = (
        select(CheckoutAttempt.attempt_id).where(CheckoutAttempt.ask_at <= work.now()).order_by(CheckoutAttempt.ask_at)
    )
    listing = _Listing(work)
    provider: PaymentProvider = work.resource(PaymentProvider)

    async def find(attempt_id: UUID) -> None:
        async with work.database.transaction() as session:
            seen = await session.get_one(CheckoutAttempt, attempt_id)
        fact = await listing.find(seen)
        async with work.database.transaction() as session:
            order = await session.get_one(Order, seen.order_id, with_for_update={"key_share": True})
            attempt = await session.get_one(CheckoutAttempt, attempt_id, with_for_update={"key_share": True})
            policy = policy_of(order.regulations_version)
            following = policy.next_question(attempt.started_at, work.now())
            asking_ends = later(order.expires_at, policy.ask_until_after_expiry)
            attempt.ask_at = following if following < asking_ends else None
            if fact is None:
                return
            if await payment_by_reference(session, provider.name, fact.reference) is None:
                await _apply(session, work, fact, 0, seen.reference)
            elif attempt.session_expires_at is not None and attempt.session_expires_at <= work.now():
                attempt.ask_at = None  # nothing follows in it any more; the payment itself is asked about

    await for_each(work, "find_payments", due, find)


class _Listing:
    """A search for the payment of a checkout: by its session, or, where its creation timed out, by our reference in the
    provider's list, which is then fetched once."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._provider: PaymentProvider = work.resource(PaymentProvider)
        self._listed: Mapping[str, str] | None = None
        self._incomplete: ListIncomplete | None = None

    async def find(self, attempt: CheckoutAttempt) -> PaymentFact | None:
        if attempt.provider_session is not None:
            reference = await self._provider.confirm_checkout(attempt.provider_session)
            return await self._provider.fetch_payment(reference) if reference else None
        if self._listed is None:
            self._listed = await self._list(attempt.started_at)
        reference = self._listed.get(attempt.reference)
        if reference is None and self._incomplete is not None:
            raise self._incomplete
        return await self._provider.fetch_payment(reference) if reference else None

    async def _list(self, since: datetime) -> Mapping[str, str]:
        """Return the provider's references of the payments of all checkouts that have no session, by our references."""
        async with self._work.database.transaction() as session:
            unknown = CheckoutAttempt.ask_at <= self._work.now(), CheckoutAttempt.provider_session.is_(None)
            rows = await session.execute(select(CheckoutAttempt.reference, CheckoutAttempt.started_at).where(*unknown))
            begun = {row.reference: row.started_at for row in rows}
        since, walk, page, found = min([since, *begun.values()]), Walk(), 1, dict[str, str]()
        try:
            while True:
                listed = await self._provider.list_payments(since, page)
                pairs = [(one.our_reference, one.reference) for one in (*listed.facts, *listed.unreadable)]
                found |= {ours: reference for ours, reference in pairs if ours in begun}
                if not walk.goes_on(page, [reference for _, reference in pairs]):
                    return found
                page += 1
        except ListIncomplete as error:
            self._incomplete = error
            return found


async def _apply(session: AsyncSession, work: Work, fact: PaymentFact, revision: int, asked_for: str = "") -> None:
    provider: PaymentProvider = work.resource(PaymentProvider)
    await apply_payment_fact(
        session, provider.name, fact, work.resource(PublicUrls), asked_for=asked_for, asked_at_revision=revision
    )


EVERY: Final[tuple[tuple[float, JobFunction], ...]] = (
    (10, close_checkouts),
    (5, ask_about_payments),
    (15, find_payments),
)
