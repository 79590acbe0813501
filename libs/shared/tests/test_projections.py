"""What an inbox only keeps: a batch is one statement, an event one row, however often it arrives."""

import asyncio
import logging
from typing import ClassVar
from uuid import UUID

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata
from shared.events.payments import PaymentReversed, RefundRequested
from shared.ids import new_id
from shared.messaging import Inbox
from shared.messaging.receiver import Receiver
from shared.messaging.tables import Retry

from . import delivery
from .delivery import HASTY, body_of, refund_of
from .messaging_nodes import ServiceNode, settle


def projection(node, row_of=None, table: type[TableBase] = delivery.Refund):
    """A receiver that keeps refunds, and handles payments that were reversed."""
    inbox = Inbox("enrolment")

    def row(event, _at):
        return delivery.Refund(refund_id=event.refund_id, learner_id=event.learner_id, amount_minor=event.amount_minor)

    inbox.project(table, RefundRequested)(row_of or row)
    inbox.on(PaymentReversed)(lambda session, event: write_about(session, event, event.order_id))
    return Receiver(inbox, node.database, HASTY)


async def write_about(session, event, about):
    await session.execute(
        text("insert into effects (type, about) values (:type, :about)"), {"type": event.type, "about": about}
    )


async def kept(node):
    return sorted(await node.all("select refund_id, learner_id, amount_minor from refunds"))


def rows_of(*events):
    return sorted((event.refund_id, event.learner_id, event.amount_minor) for event in events)


async def test_what_is_only_kept_takes_one_statement(enrolment, monkeypatch, caplog):
    monkeypatch.setattr(enrolment.database, "messages", None)  # no session
    caplog.set_level(logging.INFO)
    events = [refund_of() for _ in range(3)]
    await projection(enrolment).take([body_of(event) for event in events])
    assert await kept(enrolment) == rows_of(*events)
    assert await enrolment.one("select count(*) from inbox") == 3
    assert [record.message for record in caplog.records if record.name.startswith("shared")] == ["event handled"] * 3


async def test_what_is_kept_and_what_is_handled_come_together(enrolment):
    event, other = refund_of(), delivery.reversed_(new_id())
    await projection(enrolment).take([body_of(other), body_of(event)])
    assert await kept(enrolment) == rows_of(event)
    assert await enrolment.effects(other) == 1


async def test_ten_deliveries_on_two_receivers_at_once_are_kept_once(enrolment):
    event, other = refund_of(), ServiceNode("enrolment", enrolment.url)
    bodies = [body_of(event, id_ := new_id()), *(body_of(refund_of()) for _ in range(20)), *[body_of(event, id_)] * 9]
    await asyncio.gather(projection(enrolment).take(bodies), projection(other).take(bodies[::-1]))
    await projection(enrolment).take(bodies)
    await other.database.dispose()
    assert len(await kept(enrolment)) == await enrolment.one("select count(*) from inbox") == 21
    assert await enrolment.dead_letters() == []
    assert await enrolment.one("select count(*) from inbox_retry") == 0


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
async def test_the_same_id_with_another_body_is_dead_lettered_and_the_first_is_kept(enrolment, together):
    first, id_ = refund_of(), new_id()
    bodies = [body_of(first, id_), body_of(refund_of(), id_)]
    for batch in [bodies] if together else [[body] for body in bodies]:
        await projection(enrolment).take(batch)
    assert await kept(enrolment) == rows_of(first)
    assert await enrolment.dead_letters() == ["same_id_other_body"]


async def test_a_row_that_is_there_already_stays(enrolment):
    event = refund_of()
    await projection(enrolment).take([body_of(event)])
    await projection(enrolment).take([body_of(event.model_copy(update={"amount_minor": 1}))])
    assert await kept(enrolment) == rows_of(event)
    assert await enrolment.one("select count(*) from inbox") == 2


async def test_what_cannot_be_kept_does_not_fail_its_neighbours_and_is_tried_again(enrolment):
    broken = True

    def row(event, at):
        if broken and event.reason_code == "bug":
            raise ZeroDivisionError
        return delivery.Refund(refund_id=event.refund_id, learner_id=event.learner_id, amount_minor=1)

    receiver = projection(enrolment, row)
    bad, good = refund_of(reason_code="bug"), refund_of()
    await receiver.take([body_of(bad), body_of(good)])
    assert [row[0] for row in await kept(enrolment)] == [good.refund_id]
    held = body_of(bad, (await enrolment.all("select id from inbox_retry"))[0][0])
    await receiver.take([held])  # while it waits it is not free
    assert len(await kept(enrolment)) == 1
    broken = False
    await settle(enrolment, receiver)
    assert len(await kept(enrolment)) == 2
    assert await enrolment.dead_letters() == []


async def test_nothing_else_is_done_about_what_is_kept(enrolment):
    inbox = projection(enrolment).inbox
    with pytest.raises(TypeError, match="is kept"):
        inbox.on(RefundRequested)(lambda session, event: write_about(session, event, event.order_id))
    with pytest.raises(TypeError, match="is handled"):
        inbox.project(delivery.Refund, PaymentReversed)(lambda _event, _at: delivery.Refund())
    with pytest.raises(TypeError, match="bytes"):
        projection(enrolment, table=Retry)


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class OwedRefund(Base):
    """The same table, with attributes that are called otherwise than their columns."""

    __tablename__ = "refunds"

    owed_id: Mapped[UUID] = mapped_column("refund_id", primary_key=True)
    learner_id: Mapped[UUID]
    owed_minor: Mapped[int] = mapped_column("amount_minor", key="owed_minor")


async def test_an_attribute_may_be_called_otherwise_than_its_column(enrolment):
    def row(event, _at):
        return OwedRefund(owed_id=event.refund_id, learner_id=event.learner_id, owed_minor=event.amount_minor)

    event = refund_of()
    await projection(enrolment, row, OwedRefund).take([body_of(event)])
    assert await kept(enrolment) == rows_of(event)
