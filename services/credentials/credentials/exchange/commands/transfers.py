"""Ask a partner to take credit into a degree; decide; complete, return, or let it lapse."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import emails
from credentials.commands.people import must_be_present
from credentials.commands.projection import rebuild
from credentials.domain import policies
from credentials.domain.awards import OnHold
from credentials.domain.credit import CreditStatus
from credentials.exchange.commands import sharing
from credentials.exchange.commands.partners import open_partner
from credentials.exchange.domain import transfers
from credentials.exchange.domain.sharing import Scope, UnknownCredit
from credentials.exchange.domain.transfers import Decision, LineState, TransferState
from credentials.exchange.queries.sharing import DECIDING, READING
from credentials.exchange.queries.transfers import (
    allocated,
    credits_accepted_in,
    lines_of,
    open_transfer_of_share,
    transfers_query,
)
from credentials.queries.holds import held_among
from credentials.queries.records import is_on_hold, record_of
from credentials.tables.awards import Allocation
from credentials.tables.sharing import Share
from credentials.tables.transfers import Programme, Transfer, TransferLine
from shared.database import Unknown, advisory_lock, fetch
from shared.database import now as now_of
from shared.events.catalogue import ProgrammePublished
from shared.events.credentials import (
    LineDecided,
    TransferCompleted,
    TransferDecided,
    TransferRequested,
    TransferReturned,
    TransferWithdrawn,
)
from shared.ids import new_id
from shared.messaging import publish


async def record_programme(session: AsyncSession, published: ProgrammePublished) -> None:
    """Store a version of a programme, unless one is stored that was published later.

    A catalogue that has lost history gives a version's number, too, a second time.
    """
    values = {
        "version": published.version,
        "client_id": published.client_id,
        "institution": published.institution_name,
        "code": published.code,
        "title": published.title,
        "ceiling_credits": published.ceiling_credits,
        "modules": {"items": [module.model_dump(mode="json") for module in published.modules]},
        "published_at": published.published_at,
    }
    statement = insert(Programme).values(programme_id=published.programme_id, **values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Programme.programme_id],
            set_=values,
            where=tuple_(Programme.published_at, Programme.version)
            < tuple_(statement.excluded.published_at, statement.excluded.version),
        )
    )


async def request_transfer(
    session: AsyncSession, learner_id: UUID, programme_id: UUID, credit_ids: frozenset[UUID], disclosure: Scope
) -> Transfer:
    """Ask the programme's partner to take in these credits, and let it see them until it has decided.

    `disclosure` says what else it sees of them. Raises HolderAnonymised, Unknown, ProgrammeClosed, OnHold,
    UnknownCredit, CreditNotFree, AlreadyRequested.
    """
    await must_be_present(session, learner_id)
    programme = await fetch(session, Programme, programme_id)
    partner = await open_partner(session, programme.client_id, READING, DECIDING)
    if partner is None:
        raise transfers.ProgrammeClosed("its partner takes no requests")
    await _must_not_be_on_hold(session, learner_id)
    await _check_free(session, learner_id, sorted(credit_ids))
    open_ones = transfers_query(learner_id=learner_id).where(
        Transfer.programme_id == programme_id, Transfer.state == TransferState.REQUESTED
    )
    if (await session.scalars(open_ones)).first() is not None:
        raise transfers.AlreadyRequested("a request to this programme waits for its decision")
    now = now_of(session)
    decide_by = now + policies.in_force(now).transfers.decide_within
    share = Share(
        share_id=new_id(),
        learner_id=learner_id,
        client_id=partner.client_id,
        recipient=partner.name,
        purpose=f"Transfer into {programme.title}",
        scope=disclosure.as_json(),
        granted_at=now,
        redeemed_at=now,  # the partner learns of it by the request; there is no code
        expires_at=decide_by,
    )
    session.add(share)
    await session.flush()
    sharing.announce_grant(session, share)
    transfer = Transfer(
        transfer_id=new_id(),
        learner_id=learner_id,
        client_id=partner.client_id,
        programme_id=programme_id,
        share_id=share.share_id,
        state=TransferState.REQUESTED,
        requested_at=now,
        decide_by=decide_by,
    )
    session.add(transfer)
    await session.flush()
    for credit_id in sorted(credit_ids):
        session.add(TransferLine(transfer_id=transfer.transfer_id, credit_id=credit_id, state=LineState.REQUESTED))
    publish(
        session,
        TransferRequested(
            transfer_id=transfer.transfer_id,
            learner_id=learner_id,
            client_id=partner.client_id,
            programme_id=programme_id,
            share_id=share.share_id,
            credit_ids=tuple(sorted(credit_ids)),
            decide_by=decide_by,
            requested_at=now,
        ),
    )
    await session.flush()
    return transfer


async def decide_transfer(
    session: AsyncSession,
    client_id: str,
    transfer_id: UUID,
    decisions: Sequence[Decision],
    accepted_until: datetime | None,
) -> Transfer:
    """Store the partner's decision on each credit; what it accepts is committed, and stands for no award meanwhile.

    Raises Unknown, TransferAlreadyDecided, DecisionIncomplete, CreditsOutOfBounds, CeilingExceeded,
    AcceptanceOutOfBounds, OnHold, CreditNotFree.
    """
    transfer = await _lock_and_fetch(session, client_id, transfer_id)
    now = now_of(session)
    if transfer.state != TransferState.REQUESTED or transfer.decide_by <= now:
        raise transfers.TransferAlreadyDecided(f"this request is {transfer.state}")
    lines = (await lines_of(session, [transfer_id]))[transfer_id]
    programme = await fetch(session, Programme, transfer.programme_id)
    recognised = transfers.check_decisions(
        decisions,
        {line.credit_id: credit.credits for line, credit in lines},
        ceiling=programme.ceiling_credits,
        held_already=await credits_accepted_in(session, transfer.learner_id, transfer.programme_id),
    )
    taken = [decision.credit_id for decision in decisions if decision.taken]
    if taken:
        until = transfers.check_acceptance(accepted_until, now, policies.in_force(now).transfers)
        await _must_not_be_on_hold(session, transfer.learner_id)
        await _check_free(session, transfer.learner_id, taken)
    else:
        until = None
    rows = {line.credit_id: line for line, _ in lines}
    for decision in decisions:
        line = rows[decision.credit_id]
        line.state = LineState.COMMITTED if decision.taken else LineState.REFUSED
        line.outcome, line.credits_recognised = decision.outcome, recognised[decision.credit_id]
        line.module_code, line.reason_code, line.reason = decision.module_code, decision.reason_code, decision.reason
    await _commit(session, transfer_id, taken)
    transfer.state = TransferState.ACCEPTED if taken else TransferState.REFUSED
    transfer.decided_at, transfer.decided_by = now, client_id
    transfer.accepted_until = until
    share = await fetch(session, Share, transfer.share_id, lock=True)
    share.expires_at = until or now  # the request consents to this: as long as the credit is held
    publish(
        session,
        TransferDecided(
            transfer_id=transfer_id,
            learner_id=transfer.learner_id,
            client_id=client_id,
            programme_id=transfer.programme_id,
            decisions=tuple(
                LineDecided(
                    credit_id=decision.credit_id,
                    outcome=decision.outcome,
                    credits_recognised=recognised[decision.credit_id],
                    reason_code=decision.reason_code,
                )
                for decision in decisions
            ),
            accepted_until=transfer.accepted_until,
            decided_at=now,
        ),
    )
    await emails.enqueue(
        session,
        transfer.learner_id,
        kind="transfer_decided",
        about=transfer_id,
        subject=f"{programme.institution} has decided on your transfer",
        paragraphs=[
            f"{len(taken)} of {len(decisions)} courses are recognised for {programme.title}, {programme.institution}.",
            "You find the reason for each with your transfers. You may appeal to that institution.",
        ],
    )
    await rebuild(session, transfer.learner_id)
    return transfer


async def complete_transfer(session: AsyncSession, client_id: str, transfer_id: UUID) -> Transfer:
    """Consume the committed credit, since the degree was conferred. Raises Unknown, NotAccepted, OnHold."""
    transfer = await _lock_and_fetch(session, client_id, transfer_id)
    if transfer.accepted_until is not None and transfer.accepted_until <= now_of(session):
        raise transfers.NotAccepted("this acceptance has ended")
    await _must_not_be_on_hold(session, transfer.learner_id)
    lines = (await lines_of(session, [transfer_id]))[transfer_id]
    if await held_among(session, [line.credit_id for line, _ in lines]):
        raise OnHold("what was paid for some of this credit went back; staff decide on it first")
    credit_ids = await _settle(session, transfer, TransferState.COMPLETED, LineState.CONSUMED)
    publish(
        session,
        TransferCompleted(
            transfer_id=transfer_id,
            learner_id=transfer.learner_id,
            client_id=client_id,
            programme_id=transfer.programme_id,
            credit_ids=credit_ids,
            completed_at=now_of(session),
        ),
    )
    await _email_end(session, transfer, "A degree was conferred on your credit", "It cannot be used again.")
    await rebuild(session, transfer.learner_id)
    return transfer


async def return_transfer(session: AsyncSession, client_id: str, transfer_id: UUID, reason_code: str) -> Transfer:
    """Return the committed credit to the learner, who left the degree. Raises Unknown, NotAccepted."""
    transfer = await _lock_and_fetch(session, client_id, transfer_id)
    await _return(session, transfer, reason_code)
    return transfer


async def withdraw_transfer(session: AsyncSession, learner_id: UUID, transfer_id: UUID) -> Transfer:
    """Withdraw a learner's undecided request, and the consent with it. Raises Unknown, TransferAlreadyDecided."""
    await advisory_lock(session, "learner", learner_id)
    transfer = await fetch(session, Transfer, transfer_id, lock=True)
    if transfer.learner_id != learner_id:
        raise Unknown(f"no transfer {transfer_id}")
    if transfer.state != TransferState.REQUESTED:
        raise transfers.TransferAlreadyDecided(f"this request is {transfer.state}")
    share = await fetch(session, Share, transfer.share_id, lock=True)
    if share.withdrawn_at is None:
        sharing.end_share(session, share, now_of(session))
    await _end(session, transfer, TransferState.WITHDRAWN, "withdrawn")
    return transfer


async def end_with_share(session: AsyncSession, share: Share) -> None:
    """Withdraw the undecided request that a withdrawn consent belongs to. The caller holds the learner's advisory
    lock."""
    transfer = await open_transfer_of_share(session, share.share_id)
    if transfer is not None:
        await _end(session, transfer, TransferState.WITHDRAWN, "consent_withdrawn")


async def end_overdue(session: AsyncSession, transfer_id: UUID) -> None:
    """End a request or acceptance if its time is over."""
    await advisory_lock(session, "learner", (await fetch(session, Transfer, transfer_id)).learner_id)
    transfer = await fetch(session, Transfer, transfer_id, lock=True)
    now = now_of(session)
    if transfer.state == TransferState.REQUESTED and transfer.decide_by <= now:
        await _end(session, transfer, TransferState.LAPSED, "not_decided_in_time")
        await _email_end(session, transfer, "Your transfer was not decided in time", "You may ask again.")
    elif (
        transfer.state == TransferState.ACCEPTED
        and transfer.accepted_until is not None
        and transfer.accepted_until <= now
    ):
        await _return(session, transfer, "acceptance_expired")


async def _lock_and_fetch(session: AsyncSession, client_id: str, transfer_id: UUID) -> Transfer:
    """Take the advisory lock of the learner, and return the partner's transfer. Raises Unknown."""
    transfer = await session.get(Transfer, transfer_id)
    if transfer is None or transfer.client_id != client_id:
        raise Unknown(f"no transfer {transfer_id}")
    await advisory_lock(session, "learner", transfer.learner_id)
    return await fetch(session, Transfer, transfer_id, lock=True)


async def _must_not_be_on_hold(session: AsyncSession, learner_id: UUID) -> None:
    """Raise OnHold while nothing may be transferred."""
    if await is_on_hold(session, learner_id):
        raise OnHold("nothing is transferred until a payment or a case is settled")


async def _check_free(session: AsyncSession, learner_id: UUID, credit_ids: Sequence[UUID]) -> None:
    """Check that the credit is the learner's, and nothing stands on it. Raises UnknownCredit, CreditNotFree."""
    record = await record_of(session, learner_id, now_of(session))
    status = {UUID(fact.id): fact.status for fact in record.facts()}
    if foreign := [str(one) for one in credit_ids if one not in status]:
        raise UnknownCredit("some of these are not on your record", ids=foreign)
    used = await allocated(session, credit_ids)
    taken = [str(one) for one in credit_ids if status[one] is not CreditStatus.RATIFIED or one in used]
    if taken:
        raise transfers.CreditNotFree(
            "some of this credit is revoked, held, in an award, or accepted elsewhere", credit_ids=taken
        )


async def _commit(session: AsyncSession, transfer_id: UUID, credit_ids: Iterable[UUID]) -> None:
    """Allocate the credit to the transfer at every level, where the database admits only one award or transfer."""
    for credit_id in credit_ids:
        for level in policies.every_level():
            session.add(Allocation(transfer_id=transfer_id, credit_id=credit_id, level=level, live=True))
    await session.flush()


async def _settle(
    session: AsyncSession, transfer: Transfer, state: TransferState, line_state: LineState
) -> tuple[UUID, ...]:
    """End an acceptance; return the credit that was committed. Raises NotAccepted."""
    if transfer.state != TransferState.ACCEPTED:
        raise transfers.NotAccepted(f"this request is {transfer.state}")
    lines = (await lines_of(session, [transfer.transfer_id]))[transfer.transfer_id]
    committed = [line for line, _ in lines if line.state == LineState.COMMITTED]
    for line in committed:
        line.state = line_state
    transfer.state, transfer.closed_at = state, now_of(session)
    await session.flush()
    return tuple(line.credit_id for line in committed)


async def _return(session: AsyncSession, transfer: Transfer, reason_code: str) -> None:
    credit_ids = await _settle(session, transfer, TransferState.RETURNED, LineState.RETURNED)
    transfer.closed_reason = reason_code
    await session.execute(update(Allocation).where(Allocation.transfer_id == transfer.transfer_id).values(live=False))
    now = now_of(session)
    publish(
        session,
        TransferReturned(
            transfer_id=transfer.transfer_id,
            learner_id=transfer.learner_id,
            client_id=transfer.client_id,
            programme_id=transfer.programme_id,
            credit_ids=credit_ids,
            reason_code=reason_code,
            returned_at=now,
        ),
    )
    share = await fetch(session, Share, transfer.share_id, lock=True)
    share.expires_at = min(share.expires_at, now)
    await _email_end(session, transfer, "Your credit is yours again", "You may use it for an award or another degree.")
    await rebuild(session, transfer.learner_id)


async def _end(session: AsyncSession, transfer: Transfer, state: TransferState, reason_code: str) -> None:
    """End a request without a decision; no credit was committed."""
    now = now_of(session)
    transfer.state, transfer.closed_at, transfer.closed_reason = state, now, reason_code
    await session.execute(
        update(TransferLine).where(TransferLine.transfer_id == transfer.transfer_id).values(state=LineState.ENDED)
    )
    publish(
        session,
        TransferWithdrawn(
            transfer_id=transfer.transfer_id,
            learner_id=transfer.learner_id,
            client_id=transfer.client_id,
            programme_id=transfer.programme_id,
            reason_code=reason_code,
            withdrawn_at=now,
        ),
    )


async def _email_end(session: AsyncSession, transfer: Transfer, subject: str, meaning: str) -> None:
    programme = await fetch(session, Programme, transfer.programme_id)
    await emails.enqueue(
        session,
        transfer.learner_id,
        kind="transfer_ended",
        about=transfer.transfer_id,
        subject=subject,
        paragraphs=[f"This is about your transfer into {programme.title}, {programme.institution}.", meaning],
    )
