"""Jobs that send refunds to the provider, and ask about them. Two replicas at once do nothing twice: a refund is leased
in its row, and an answer is applied only to the revision it was asked for."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.orm import aliased

from payments.adapters.provider import PaymentProvider, ProviderNotReached, ProviderRefused
from payments.commands import refunds, unmatched
from payments.commands.ledger import post
from payments.commands.refund_facts import apply_refund_fact, find_refunds, is_of_payment, part_of
from payments.commands.settlement import apply_payment_fact
from payments.domain.payments import PaymentFact, ProviderStatus, State
from payments.domain.policy import policy_of
from payments.domain.public_urls import PublicUrls
from payments.domain.refunds import (
    ACTIVE,
    ENDED,
    UNDER_WAY,
    Made,
    ProviderRefundStatus,
    RefundFact,
    RefundStatus,
    paid_of,
)
from payments.domain.unmatched import Why
from payments.queries.payments import disputed_payments, is_disputed
from payments.queries.refunds import not_ours_among, provider_refunds_of
from payments.tables import Order, Payment, Refund
from shared.clock import later
from shared.due_rows import for_each
from shared.jobs import JobFunction, Work

log = logging.getLogger(__name__)

SETTLING: Final = timedelta(minutes=1)
"""How long the lease lasts from just before the refund is sent: longer than the whole call may take."""


async def submit_refunds(work: Work) -> None:
    """Ask the provider to pay back what is requested: after the payment is delivered, one at a time a payment."""
    other = aliased(Refund)
    busy = exists().where(other.payment_id == Refund.payment_id, other.status.in_(ACTIVE))
    to_send = and_(
        Refund.status == RefundStatus.REQUESTED,
        ~busy,
        # The bank may take it; then nothing is left to give back.
        Refund.payment_id.not_in(disputed_payments()),
        or_(Refund.ask_at.is_(None), Refund.ask_at <= work.now()),
        Payment.state == State.SETTLED,
    )
    begun = and_(Refund.status == RefundStatus.SUBMITTING, Refund.ask_at <= work.now())
    due = (
        select(Refund.refund_id)
        .join(Payment, Payment.payment_id == Refund.payment_id)
        .where(or_(to_send, begun))
        .order_by(Refund.requested_at, Refund.refund_id)
    )

    async def submit(refund_id: UUID) -> None:
        claim = await _claim(work, refund_id)
        if claim is None:
            return
        try:
            await _submit(work, claim)
        finally:  # whatever has held it back
            async with work.database.transaction() as session:
                await refunds.note_delay(session, claim.refund.order_id, refund_id)

    await for_each(work, "submit_refunds", due, submit)


@dataclass(frozen=True, slots=True)
class _LeasedRefund:
    """A refund that is ours to send until its `ask_at`; by `revision` we see whether anything has happened to it
    since."""

    refund: Refund
    payment: Payment
    revision: int


async def _claim(work: Work, refund_id: UUID) -> _LeasedRefund | None:
    """Lease a refund; None where another replica has it, or it cannot be sent now."""
    async with work.database.transaction() as session:
        refund = await session.get_one(Refund, refund_id)
        await session.get_one(Order, refund.order_id, with_for_update={"key_share": True})
        refund = await session.get_one(Refund, refund_id, with_for_update={"key_share": True}, populate_existing=True)
        payment = await session.get_one(Payment, refund.payment_id, populate_existing=True)
        if refund.ask_at is not None and refund.ask_at > work.now():
            return None
        if refund.status == RefundStatus.REQUESTED:
            busy = exists().where(Refund.payment_id == payment.payment_id, Refund.status.in_(ACTIVE))
            disputed = await is_disputed(session, refund.payment_id)
            if payment.state != State.SETTLED or disputed or await session.scalar(select(busy)):
                return None
        elif refund.status != RefundStatus.SUBMITTING:
            return None
        refund.status, refund.ask_at = RefundStatus.SUBMITTING, work.now() + SETTLING
        refund.revision += 1
        return _LeasedRefund(refund, payment, refund.revision)


async def _submit(work: Work, claim: _LeasedRefund) -> None:
    """Send a leased refund, after looking at what the provider has made already: this one may be among it.

    The provider knows no idempotency key: one that may have been sent is never sent again by this job.
    """
    provider: PaymentProvider = work.resource(PaymentProvider)
    refund, payment = claim.refund, claim.payment
    made = await provider.refunds_of(payment.reference)
    known = await _match_refunds(work, claim, made)
    paid = paid_of(known.made, refund.currency)
    rest = 0 if paid is None else refund.amount_minor - paid
    came_of_it = refund.submitted_at is not None and known.new
    if rest <= 0 or came_of_it or any(one.status not in ENDED for one in known.made):
        await _apply(work, claim, *known.ours)
        return
    if known.unexplained:
        await _explain(work, claim, known.unexplained, rest)
        return
    if refund.submitted_at is not None:
        await _await_effect(work, claim)
        return
    said = await provider.fetch_payment(payment.reference)
    if said.status is not ProviderStatus.DELIVERED or any(one.status in UNDER_WAY for one in made):
        await _put_back(work, claim, said)
    else:
        await _send(work, claim, rest, said)


async def _send(work: Work, claim: _LeasedRefund, rest: int, said: PaymentFact) -> None:
    """Ask the provider to pay back `rest`, of a payment of which it reported `said` just now."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    refund, payment = claim.refund, claim.payment
    try:
        fact = await provider.create_refund(payment.reference, rest, str(refund.refund_id), lambda: _renew(work, claim))
    except ProviderNotReached:
        await _unsend(work, claim)
        raise
    except ProviderRefused as error:
        log.exception("refund refused", extra={"refund": str(refund.refund_id), "error": error.detail})
        said = await provider.fetch_payment(payment.reference)
        if said.status is not ProviderStatus.DELIVERED:  # that is why
            await _put_back(work, claim, said)
            return
        async with work.database.transaction() as session:
            await session.get_one(Order, refund.order_id, with_for_update={"key_share": True})
            row = await session.get_one(Refund, refund.refund_id, with_for_update={"key_share": True})
            if row.revision == claim.revision:  # else the provider has reported meanwhile what became of it
                row.submitted_at = None
                await refunds.fail_refund(session, row, "provider_refused")
        return
    if fact is None:
        await _put_back(work, claim, said)
        return
    await _apply(work, claim, fact)


@dataclass(frozen=True, slots=True)
class _Known:
    """What we know of the refunds that the provider made of a payment."""

    ours: Sequence[RefundFact]
    """What it reports now of those that it made for this refund of ours."""
    made: Sequence[Made]
    """The same, with what it reported before of those that it does not list now, or with a status we do not
    understand."""
    unexplained: Sequence[RefundFact]
    """Those of which we do not know whose they are, and by which money may have gone back."""
    new: bool
    """Whether it reports one for this refund of ours that it never reported before."""


async def _match_refunds(work: Work, claim: _LeasedRefund, listed: Sequence[RefundFact]) -> _Known:
    refund_id = claim.refund.refund_id
    async with work.database.transaction() as session:
        before = {one.provider_refund_id: one for one in await provider_refunds_of(session, refund_id)}
        whose = [(one, await find_refunds(session, one)) for one in listed]
        ids = [one.provider_refund_id for one in listed]
        not_ours = await not_ours_among(session, claim.payment.provider, ids)
        ours = [one for one, of in whose if refund_id in of and is_of_payment(one, claim.payment)]
        parts = [await part_of(session, one, refund_id) for one in ours]
    strange = [one for one, of in whose if not of or not is_of_payment(one, claim.payment)]
    paid = {id_ for id_, one in before.items() if one.status == ProviderRefundStatus.FINISHED}
    unsaid = {ProviderRefundStatus.UNKNOWN, ProviderRefundStatus.CANCELLED}  # neither takes back what was paid
    said = {
        one.provider_refund_id: one for one in parts if one.provider_refund_id not in paid or one.status not in unsaid
    }
    return _Known(
        ours,
        list((before | said).values()),  # pyright: ignore[reportArgumentType] - a mapped row has what is asked
        [
            one
            for one in strange
            if one.status is not ProviderRefundStatus.CANCELLED and one.provider_refund_id not in not_ours
        ],
        any(one.provider_refund_id not in before for one in ours),
    )


async def _await_effect(work: Work, claim: _LeasedRefund) -> None:
    """Plan when to look again for a refund that was sent without an answer, and of which nothing is seen yet.

    It may take effect much later than its answer was waited for. Where it has not by the time that the regulations
    give it, finance decides whether it is sent again.
    """
    async with work.database.transaction() as session:
        order = await session.get_one(Order, claim.refund.order_id, with_for_update={"key_share": True})
        row = await session.get_one(Refund, claim.refund.refund_id, with_for_update={"key_share": True})
        if row.revision != claim.revision or row.submitted_at is None:
            return
        policy = policy_of(order.regulations_version)
        if work.now() < later(row.submitted_at, policy.refund_takes_effect_within):
            row.ask_at = policy.next_question(row.submitted_at, work.now())
        else:
            await refunds.fail_refund(session, row, "no_effect_seen")


async def _unsend(work: Work, claim: _LeasedRefund) -> None:
    """Note that the refund was not sent after all: the provider could not be reached."""
    async with work.database.transaction() as session:
        await session.get_one(Order, claim.refund.order_id, with_for_update={"key_share": True})
        row = await session.get_one(Refund, claim.refund.refund_id, with_for_update={"key_share": True})
        if row.revision == claim.revision:
            row.submitted_at = None


async def _explain(work: Work, claim: _LeasedRefund, unexplained: Sequence[RefundFact], rest: int) -> None:
    """Find out whether an unexplained refund at the provider is this one.

    It is where we have asked for this one, and it is the only one, without a reference, and of that sum. Else nothing
    is sent beside the unexplained ones, and finance is shown them.
    """
    refund, payment = claim.refund, claim.payment
    first = unexplained[0]
    unnamed = not first.our_reference and is_of_payment(first, payment)
    same = first.amount_minor == rest and first.currency in {"", refund.currency}
    if refund.submitted_at is not None and len(unexplained) == 1 and unnamed and same:
        await _apply(work, claim, first)
        return
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        order = await session.get_one(Order, refund.order_id, with_for_update={"key_share": True})
        row = await session.get_one(Refund, refund.refund_id, with_for_update={"key_share": True})
        pause = SETTLING
        for one in unexplained:
            if await find_refunds(session, one) and is_of_payment(one, payment):
                continue  # finance has said meanwhile what it paid
            await unmatched.show_refund(session, provider.name, one, Why.UNKNOWN_REFUND, payment)
            pause = policy_of(order.regulations_version).ask_every
        if row.submitted_at is not None:  # and so one of them may be this one
            if row.revision == claim.revision:
                row.ask_at = work.now() + pause
            return
    await _put_back(work, claim, pause=pause)


async def _renew(work: Work, claim: _LeasedRefund) -> bool:
    """Renew the lease for a whole SETTLING; return whether the refund may still be sent.

    Much may have happened since it was leased, as this process may have stood still. Money that the bank has, or may
    get, is not paid back.
    """
    async with work.database.transaction() as session:
        await session.get_one(Order, claim.refund.order_id, with_for_update={"key_share": True})
        row = await session.get_one(
            Refund, claim.refund.refund_id, with_for_update={"key_share": True}, populate_existing=True
        )
        payment = await session.get_one(Payment, row.payment_id, populate_existing=True)
        if row.revision != claim.revision or payment.state != State.SETTLED:
            return False
        if await is_disputed(session, row.payment_id):
            return False
        row.ask_at = work.now() + SETTLING
        row.submitted_at = work.now()  # from now on it may take effect at the provider
        return True


async def _apply(work: Work, claim: _LeasedRefund, *facts: RefundFact) -> None:
    """Apply the provider's answers; one that was overtaken is not applied, and the provider is asked again."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    revision = claim.revision
    for fact in facts:
        async with work.database.transaction() as session:
            outcome = await apply_refund_fact(
                session, provider.name, fact, asked_for=claim.refund.refund_id, asked_at_revision=revision
            )
        if outcome == "applied":
            revision += 1


async def _put_back(
    work: Work, claim: _LeasedRefund, said: PaymentFact | None = None, *, pause: timedelta = SETTLING
) -> None:
    """Give up the lease of a refund that cannot be sent now, and of which nothing exists at the provider.

    The payment is not delivered after all, is disputed or lost, or another refund of it is under way, or may be.
    """
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        await session.get_one(Order, claim.refund.order_id, with_for_update={"key_share": True})
        row = await session.get_one(Refund, claim.refund.refund_id, with_for_update={"key_share": True})
        payment = await session.get_one(Payment, claim.payment.payment_id, with_for_update={"key_share": True})
        if row.revision != claim.revision:
            return
        if payment.state == State.LOST:
            await refunds.cancel_refund(session, row, payment)
        else:
            row.status, row.submitted_at, row.ask_at = RefundStatus.REQUESTED, None, work.now() + pause
            row.revision += 1
            await post(session, "refund_not_sent", payment, refund_id=row.refund_id)
        if said is not None:
            await apply_payment_fact(
                session, provider.name, said, work.resource(PublicUrls), asked_at_revision=claim.payment.revision
            )


async def follow_refunds(work: Work) -> None:
    """Ask about refunds of which nothing more was reported."""
    due = (
        select(Refund.refund_id)
        .where(Refund.ask_at <= work.now(), Refund.provider_refund_id.is_not(None))
        .order_by(Refund.ask_at)
    )

    await for_each(work, "follow_refunds", due, partial(ask_about_refund, work))


async def ask_about_refund(work: Work, refund_id: UUID) -> None:
    """Apply what the provider reports now of all refunds that it made for this one."""
    provider: PaymentProvider = work.resource(PaymentProvider)
    async with work.database.transaction() as session:
        made = [one.provider_refund_id for one in await provider_refunds_of(session, refund_id)]
        refund = await session.get_one(Refund, refund_id)
        made = made or [refund.provider_refund_id or ""]
    for provider_refund_id in made:
        async with work.database.transaction() as session:
            revision = (await session.get_one(Refund, refund_id)).revision
        fact = await provider.fetch_refund(provider_refund_id)
        async with work.database.transaction() as session:
            await apply_refund_fact(session, provider.name, fact, asked_for=refund_id, asked_at_revision=revision)


EVERY: Final[tuple[tuple[float, JobFunction], ...]] = ((5, submit_refunds), (15, follow_refunds))
