"""Three small services for the delivery suite: what each stores, answers and consumes.

payments asks for refunds over HTTP and announces them; enrolment and credentials consume what it announces.
"""

import asyncio
import contextlib
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from fastapi import Response
from sqlalchemy import BigInteger, Identity, MetaData, Text, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.access import Access, Own, anyone, owner, refuse_own, staff
from shared.database import TableBase, advisory_lock, fetch, new_metadata
from shared.errors import Forbidden
from shared.events import Event
from shared.events.payments import Line, PaymentConfirmed, PaymentReversed, RefundRequested
from shared.ids import new_id
from shared.messaging import Inbox, RetryLater, publish
from shared.messaging.fast_path import Fallback, FastInsert
from shared.messaging.message import envelope, read
from shared.messaging.relay import Envelope
from shared.messaging.retrying import RetryPolicy
from shared.web import Call, CallerOf, Idempotent, RequestModel, Router, Session, View

VERSIONS = Path(__file__).parent / "versions"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HASTY = RetryPolicy(delays_seconds=(0.05, 0.05, 0.05), waiting_seconds=0.1)
"""Retries as in production, but for the waits."""
HASTY_LEASE_SECONDS = 0.5
"""How soon what a killed process was handed is sent by its successor."""

# --- tables -------------------------------------------------------------------------------------------------


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Effect(Base):
    __tablename__ = "effects"

    effect_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    about: Mapped[UUID]


class Refund(Base):
    __tablename__ = "refunds"

    refund_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    amount_minor: Mapped[int]


class PaymentFact(Base):
    __tablename__ = "payment_facts"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(Text, primary_key=True)


class OrderAccess(Base):
    __tablename__ = "standings"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    standing: Mapped[str] = mapped_column(Text)


# --- payments: HTTP in, events out --------------------------------------------------------------------------

router = Router()


class RefundRequest(RequestModel):
    amount_minor: int
    reason_code: str = "cooling_off"


class RefundView(View):
    refund_id: UUID
    amount_minor: int


@router.post("/v1/refunds", operation_id="request_refund", status_code=201, dependencies=[Idempotent])
async def request_refund(body: RefundRequest, session: Session, caller: CallerOf) -> RefundView:
    refund = Refund(refund_id=new_id(), learner_id=caller.own_id, amount_minor=body.amount_minor)
    session.add(refund)
    publish(session, refund_of(refund.refund_id, reason_code=body.reason_code, learner_id=refund.learner_id))
    await session.flush()
    return RefundView.model_validate(refund)


@router.post("/v1/fast-refunds", operation_id="request_refund_fast", status_code=201, dependencies=[Idempotent])
async def request_refund_in_session(body: RefundRequest, session: Session, caller: CallerOf) -> RefundView:
    return await request_refund(body, session, caller)


ASK = FastInsert(
    Refund,
    looks=["held as (select from standings where order_id = :learner_id and standing = 'held' for update)"],
    condition="not exists (select from held)",
)


@router.fast_path("request_refund_fast")
async def request_refund_fast(call: Call) -> Response:
    body = await call.content(RefundRequest)
    if body is None:
        raise Fallback
    refund = Refund(refund_id=new_id(), learner_id=call.caller.own_id, amount_minor=body.amount_minor)
    response = Response(RefundView.model_validate(refund).model_dump_json(), 201, media_type="application/json")
    event = refund_of(refund.refund_id, reason_code=body.reason_code, learner_id=refund.learner_id)
    await ASK.run(call.database, [refund], [event], reply=call.stored(response), learner_id=refund.learner_id)
    return response


@router.get("/v1/refunds/{refund_id}", operation_id="read_refund")
async def read_refund(refund_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    refund = await fetch(session, Refund, refund_id)
    caller.must_own(refund.learner_id)
    return RefundView.model_validate(refund)


@router.put("/v1/refunds/{refund_id}/amount", operation_id="change_refund")
async def change_refund(refund_id: UUID, body: RefundRequest, session: Session) -> RefundView:
    """Written by somebody who forgot to ask whose refund it is."""
    refund = await fetch(session, Refund, refund_id, lock=True)
    refund.amount_minor = body.amount_minor
    return RefundView.model_validate(refund)


class OwnApproval(Forbidden):
    """Nobody approves their own refund."""


@router.post("/v1/refunds/{refund_id}/approval", operation_id="approve_refund", dependencies=[Idempotent])
async def approve_refund(refund_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    refund = await fetch(session, Refund, refund_id)
    refuse_own(session, OwnApproval("somebody else approves it"), refund.learner_id, caller.id)
    return RefundView.model_validate(refund)


@router.post("/v1/refunds/{refund_id}/doubling", operation_id="double_refund", dependencies=[Idempotent])
async def double_refund(refund_id: UUID, session: Session) -> RefundView:
    """Written by somebody who forgot to ask whose refund it is."""
    refund = await fetch(session, Refund, refund_id, lock=True)
    refund.amount_minor *= 2
    return RefundView.model_validate(refund)


@router.get("/v1/refunds", operation_id="list_refunds")
async def list_refunds(session: Session) -> list[RefundView]:
    return [RefundView.model_validate(row) for row in await session.scalars(select(Refund))]


@router.get("/v1/terms", operation_id="read_terms")
async def read_terms() -> dict[str, str]:
    return {"terms": "money back within 14 days"}


ACCESS: Access = {
    "request_refund": owner("learner"),
    "request_refund_fast": owner("learner"),
    "read_refund": owner("learner", staff=("finance",)),
    "change_refund": owner("learner"),
    "approve_refund": staff("finance", own=OwnApproval),
    "double_refund": staff("finance", own=OwnApproval),
    "list_refunds": staff("finance", scopes=("refunds:read",), own=Own.SEEN),
    "read_terms": anyone(),
}

# --- enrolment and credentials: events in -------------------------------------------------------------------

enrolment, credentials = Inbox("enrolment"), Inbox("credentials")
mended: set[str] = set()
"""Misbehaviours a programmer has put right meanwhile."""


async def _bug(session: AsyncSession, requested: RefundRequested) -> None:
    raise ZeroDivisionError("a programmer's mistake")


async def _missing_file(session: AsyncSession, requested: RefundRequested) -> None:
    raise FileNotFoundError("an OSError, as the loss of a connection is one")


async def _time_out(session: AsyncSession, requested: RefundRequested) -> None:
    raise TimeoutError("of the handler's own")


async def _bad_statement(session: AsyncSession, requested: RefundRequested) -> None:
    await session.execute(text("select * from no_such_table"))


async def _swallowed_statement(session: AsyncSession, requested: RefundRequested) -> None:
    with contextlib.suppress(Exception):  # the mistake under test
        await session.execute(text("insert into refunds values (gen_random_uuid(), gen_random_uuid(), 0)"))


async def _hang(session: AsyncSession, requested: RefundRequested) -> None:
    await asyncio.sleep(3600)


async def _kill(session: AsyncSession, requested: RefundRequested) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _slow(session: AsyncSession, requested: RefundRequested) -> None:
    await asyncio.sleep(0.2)


async def _slower_than_a_lock(session: AsyncSession, requested: RefundRequested) -> None:
    """Longer than the role's lock_timeout of a second."""
    await asyncio.sleep(2)


async def _wait_for_payment(session: AsyncSession, requested: RefundRequested) -> None:
    if await session.get(PaymentFact, (requested.order_id, PaymentConfirmed.type)) is None:
        raise RetryLater("the payment is not confirmed yet")


MISBEHAVIOUR = {
    "bug": _bug,
    "missing_file": _missing_file,
    "time_out": _time_out,
    "bad_statement": _bad_statement,
    "swallowed_statement": _swallowed_statement,
    "hang": _hang,
    "kill": _kill,
    "slow": _slow,
    "slower_than_a_lock": _slower_than_a_lock,
    "before_payment": _wait_for_payment,
}
"""What a handler does wrong, by the event's reason code."""


@enrolment.on(RefundRequested)
async def end_access(session: AsyncSession, requested: RefundRequested) -> None:
    session.add(Effect(type=requested.type, about=requested.refund_id))
    await session.flush()  # what a handler wrote before it fails must not stay
    if requested.reason_code in MISBEHAVIOUR and requested.reason_code not in mended:
        await MISBEHAVIOUR[requested.reason_code](session, requested)


@enrolment.on(PaymentConfirmed, PaymentReversed)
async def derive_access(session: AsyncSession, event: PaymentConfirmed | PaymentReversed) -> None:
    """The fact is stored, the access derived from all facts: whatever the order, it ends alike."""
    session.add(Effect(type=event.type, about=event.order_id))
    await advisory_lock(session, event.order_id)
    await session.execute(insert(PaymentFact).values(order_id=event.order_id, type=event.type).on_conflict_do_nothing())
    facts = set(await session.scalars(select(PaymentFact.type).where(PaymentFact.order_id == event.order_id)))
    standing = "suspended" if PaymentReversed.type in facts else "active"
    await session.merge(OrderAccess(order_id=event.order_id, standing=standing))


@credentials.on(PaymentReversed)
async def hold_claims(session: AsyncSession, event: PaymentReversed) -> None:
    session.add(Effect(type=event.type, about=event.order_id))


INBOXES = {"payments": Inbox("payments"), "enrolment": enrolment, "credentials": credentials}

# --- events -------------------------------------------------------------------------------------------------


def refund_of(
    refund_id: UUID | None = None,
    *,
    reason_code: str = "cooling_off",
    learner_id: UUID | None = None,
    order_id: UUID | None = None,
) -> RefundRequested:
    return RefundRequested(
        refund_id=refund_id or new_id(),
        order_id=order_id or new_id(),
        learner_id=learner_id or new_id(),
        amount_minor=49500,
        currency="GBP",
        reason_code=reason_code,
        requested_at=NOON,
    )


def confirmed(order_id: UUID, learner_id: UUID | None = None) -> PaymentConfirmed:
    line = Line(
        order_line_id=order_id, course_id=order_id, course_version_id=order_id, list_minor=49500, due_minor=49500
    )
    return PaymentConfirmed(
        order_id=order_id,
        payment_id=order_id,
        learner_id=learner_id or order_id,
        amount_minor=49500,
        currency="GBP",
        method="card",
        lines=(line,),
        confirmed_at=NOON,
    )


def reversed_(order_id: UUID) -> PaymentReversed:
    return PaymentReversed(
        order_id=order_id,
        payment_id=order_id,
        learner_id=order_id,
        reason_code="chargeback",
        lines=(),
        reversed_at=NOON,
    )


def body_of(event: Event, id: UUID | None = None) -> bytes:
    """The bytes of an event as they travel."""
    written = envelope(event, id=id or new_id(), time=NOON, traceparent=None, request_id=None, causation=None)
    return written.encode()


def refund_in(body: str | bytes) -> RefundRequested:
    """The refund that these bytes announce."""
    event = read(body.encode() if isinstance(body, str) else body).event
    assert isinstance(event, RefundRequested)
    return event


def wrapped(body: bytes, type: str = RefundRequested.type) -> Envelope:
    """Bytes as a transport is handed them; the type is the routing key, whatever the body says."""
    return Envelope(id=str(new_id()), type=type, body=body, has_consumers=True)
