"""The job that compares the provider's list with our books. It finds what was not reported and no question was planned
for, such as a reversal after the payout whose callback was lost, or another payment in a session that was paid in.
"""

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import exists, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from payments.adapters.provider import (
    PaymentProvider,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnclear,
    Unreadable,
)
from payments.commands import comparison, income, unmatched
from payments.commands.refund_facts import apply_refund_fact
from payments.domain.refunds import RefundFact
from payments.domain.unmatched import Why
from payments.jobs.asking import ask_about_payment, take_in_payment
from payments.jobs.paging import ListIncomplete, Walk
from payments.jobs.refunding import ask_about_refund
from payments.queries.payments import forgotten_payments
from payments.tables import Comparison, Payment
from shared import telemetry
from shared.clock import CLOCKS_APART, later
from shared.due_rows import forget, is_the_row, set_aside
from shared.jobs import JobFunction, Work
from shared.messaging import history
from shared.messaging.tables import SetAside

log = logging.getLogger(__name__)

NAME: Final = "compare_with_provider"
BATCH: Final = 100
STAGES: Final = ("payments", "refunds", "ours")
FORGOTTEN: Final = "forgotten"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often the books are compared, and how far back."""

    every: timedelta
    back: timedelta
    """How far back: what was created in this time is compared."""


async def compare_with_provider(work: Work) -> None:
    """Compare page by page: what differs is asked about at once, and what remains is shown to finance. Two runs at the
    same time, or one that is broken off and begins a page anew, do no harm."""
    run = await _begin(work)
    if run is None:
        return
    walks = {stage: Walk() for stage in STAGES}
    while run.finished_at is None:
        try:
            more = await _STEPS[run.stage](work, run, walks[run.stage])
        except ProviderUnavailable:
            log.warning("the provider is away; the comparison goes on later", extra={"page": run.page})
            return
        run = await _advance(work, run, more=more)
    await _lose_forgotten(work, run)
    # All that differs was looked at.
    await forget(work, NAME, run.began_at)
    if not any(walk.broken_off for walk in walks.values()):
        telemetry.provider_compared.labels(run.provider).set(run.finished_at.timestamp())


async def _begin(work: Work) -> Comparison | None:
    """Return the comparison that is under way, or begin the one that is due; None where there is none."""
    provider, rhythm, now = work.resource(PaymentProvider), work.resource(Rhythm), work.now()
    async with work.database.transaction() as session:
        before = {"began_at": now - rhythm.every, "since": now, "stage": STAGES[0], "page": 1, "finished_at": now}
        await session.execute(insert(Comparison).values(provider=provider.name, **before).on_conflict_do_nothing())
        run = await session.get_one(Comparison, provider.name, with_for_update={"key_share": True})
        if run.finished_at is None and run.began_at <= now + CLOCKS_APART:
            return run
        restored_at = await history.restored_at(session)
        restored = restored_at is not None and run.began_at < restored_at
        if later(run.began_at, rhythm.every) > now and run.began_at <= now + CLOCKS_APART and not restored:
            return None
        # A database restored from a copy lacks what came in after the copy was made.
        run.since = min(run.since, later(run.began_at, -rhythm.back)) if restored else now - rhythm.back
        run.began_at, run.finished_at = now, None
        run.stage, run.page = STAGES[0], 1
        return run


async def _advance(work: Work, run: Comparison, *, more: bool) -> Comparison:
    async with work.database.transaction() as session:
        row = await session.get_one(Comparison, run.provider, with_for_update={"key_share": True})
        if (row.began_at, row.stage, row.page) != (run.began_at, run.stage, run.page):
            return row  # another replica is further
        following = STAGES.index(row.stage) + 1
        if more:
            row.page += 1
        elif following < len(STAGES):
            row.stage, row.page = STAGES[following], 1
        else:
            row.finished_at = work.now()
        return row


async def _goes_on(
    work: Work, run: Comparison, walk: Walk, named: Sequence[str], unreadable: Sequence[Unreadable]
) -> bool:
    try:
        return walk.goes_on(run.page, [*named, *(one.reference for one in unreadable)])
    except ListIncomplete as error:
        await set_aside(work, NAME, f"list of {run.stage}", error)
        return False


async def _payments(work: Work, run: Comparison, walk: Walk) -> bool:
    provider: PaymentProvider = work.resource(PaymentProvider)
    listed = await provider.list_payments(run.since, run.page)
    async with work.database.transaction() as session:
        # Payments before what finance is shown of them: whoever applies a fact locks them in this order.
        references = [one.reference for one in (*listed.facts, *listed.unreadable)]
        of_page = Payment.provider == provider.name, Payment.reference.in_(references)
        await session.execute(update(Payment).where(*of_page).values(compared_at=run.began_at))
        differing = await comparison.differing_payments(session, provider.name, listed.facts)
    for fact in differing:
        await _alone(work, fact.reference, "payment", _settle_payment(work, fact.reference))
    for one in listed.unreadable:
        await _alone(work, one.reference, "payment", _show_unless(work, one, _settle_payment(work, one.reference)))
    return await _goes_on(work, run, walk, [one.reference for one in listed.facts], listed.unreadable)


async def _show_unless(work: Work, one: Unreadable, settling: Awaitable[None]) -> None:
    """Settle an item that cannot be read in the list, as it may be readable by itself; else show finance that it is
    there."""
    try:
        await settling
    except (ProviderUnclear, ProviderRefused):
        provider: PaymentProvider = work.resource(PaymentProvider)
        async with work.database.transaction() as session:
            payment = await comparison.find_payment(session, provider.name, one.reference)
            await unmatched.show_unreadable(session, provider.name, one, payment)
        raise


async def _settle_payment(work: Work, reference: str) -> None:
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        payment = await comparison.find_payment(session, provider.name, reference)
    if payment is None:
        await take_in_payment(work, reference)
        return
    said = await ask_about_payment(work, payment.payment_id)
    async with work.database.transaction() as session:
        await comparison.show_what_remains(session, provider.name, said)


async def _refunds(work: Work, run: Comparison, walk: Walk) -> bool:
    provider: PaymentProvider = work.resource(PaymentProvider)
    listed = await provider.list_refunds(run.since, run.page)
    async with work.database.transaction() as session:
        differing = await comparison.differing_refunds(session, provider.name, listed.facts)
    for fact in differing:
        await _alone(work, fact.provider_refund_id, "refund", _settle_refund(work, fact.provider_refund_id, fact))
    for one in listed.unreadable:
        await _alone(work, one.reference, "refund", _show_unless(work, one, _settle_refund(work, one.reference, None)))
    return await _goes_on(work, run, walk, [one.provider_refund_id for one in listed.facts], listed.unreadable)


async def _settle_refund(work: Work, provider_refund_id: str, fact: RefundFact | None) -> None:
    """Ask about a refund that differs, and show finance what remains. `fact`: the list's item, where it could be
    read."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        refund_id = await comparison.find_refund(session, provider_refund_id)
    if refund_id is None:  # not known yet: it is made for one of ours, or shown to finance
        fact = fact or await provider.fetch_refund(provider_refund_id)
        async with work.database.transaction() as session:
            await apply_refund_fact(session, provider.name, fact)
        return
    await ask_about_refund(work, refund_id)
    said = await provider.fetch_refund(provider_refund_id)
    async with work.database.transaction() as session:
        await comparison.show_what_remains_of_refund(session, provider.name, said)


async def _ours(work: Work, run: Comparison, _: Walk) -> bool:
    """Ask about payments of ours that the list has left out."""
    after: tuple[datetime, UUID] | None = None
    key = Payment.seen_at, Payment.payment_id
    window = Payment.provider == run.provider, Payment.seen_at >= run.since, Payment.seen_at < run.began_at
    while True:
        statement = select(*key, Payment.reference, Payment.compared_at).where(*window).order_by(*key).limit(BATCH)
        if after is not None:
            statement = statement.where(tuple_(*key) > tuple_(*after))
        async with work.database.transaction() as session:
            rows = (await session.execute(statement)).all()
        for row in rows:
            if row.compared_at is None or row.compared_at < run.began_at:
                await _alone(work, row.reference, "not_listed", _look_for(work, row.payment_id))
        if len(rows) < BATCH:
            return False
        after = rows[-1].seen_at, rows[-1].payment_id


async def _look_for(work: Work, payment_id: UUID) -> None:
    try:
        await ask_about_payment(work, payment_id)
    except ProviderRefused as error:
        log.exception("the provider does not have it", extra={"payment": str(payment_id), "error": error.detail})
        async with work.database.transaction() as session:
            await unmatched.show_own_payment(session, await session.get_one(Payment, payment_id), Why.NOT_AT_PROVIDER)


async def _lose_forgotten(work: Work, run: Comparison) -> None:
    """Lose the payments that were taken back before this database knew of them. It is after the whole list that all
    payments of an order are known: one that was declined is not the one which paid."""
    window = Payment.provider == run.provider, Payment.seen_at >= run.since
    unread = SetAside.job == NAME, SetAside.row_key.not_like(f"{FORGOTTEN} %"), SetAside.failed_at >= run.began_at
    async with work.database.transaction() as session:
        if await session.scalar(select(exists().where(*unread))):
            log.warning("the list was not read whole, so no payment in it is held to be forgotten")
            return
        order_ids = (await session.scalars(forgotten_payments().where(*window).distinct())).all()

    async def lose(order_id: UUID) -> None:
        async with work.database.transaction() as session:
            await income.lose_forgotten(session, order_id)

    for order_id in order_ids:
        await _alone(work, str(order_id), FORGOTTEN, lose(order_id))


async def _alone(work: Work, reference: str, kind: str, settling: Awaitable[None]) -> None:
    """Settle one difference; where that fails it is set aside, and the others go on."""
    telemetry.provider_differences.labels(kind).inc()
    try:
        await settling
    except Exception as error:
        if not is_the_row(error):
            raise
        await set_aside(work, NAME, f"{kind} {reference}", error)


_STEPS: Final = {"payments": _payments, "refunds": _refunds, "ours": _ours}
EVERY: Final[tuple[tuple[float, JobFunction], ...]] = ((60, compare_with_provider),)
