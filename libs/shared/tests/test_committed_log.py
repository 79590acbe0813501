"""What a transaction does is logged once it is committed, and never where it is rolled back."""

import logging
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from shared import restored
from shared.committed_log import log_once_committed
from shared.errors import Malformed

log = logging.getLogger(__name__)


class Broken(Exception):
    """Ends a transaction, or a savepoint."""


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == __name__]


async def test_a_line_is_written_by_the_commit_and_not_before(payments, caplog):
    async with payments.database.transaction() as session:
        await session.execute(text("select 1"))
        async with session.begin_nested():
            log_once_committed(session, log, logging.WARNING, "in a savepoint", {"by": "ann"})
        log_once_committed(session, log, logging.ERROR, "in the transaction", error=Broken())
        assert said(caplog) == []
    assert said(caplog) == ["in a savepoint", "in the transaction"]
    assert vars(caplog.records[0])["by"] == "ann"
    assert caplog.records[1].exc_info is not None


async def test_what_is_rolled_back_was_not_done(payments, caplog):
    async with payments.database.transaction() as session:
        with pytest.raises(Broken):
            async with session.begin_nested():
                async with session.begin_nested():
                    log_once_committed(session, log, logging.WARNING, "in a savepoint within")
                log_once_committed(session, log, logging.WARNING, "in the savepoint")
                raise Broken
        log_once_committed(session, log, logging.WARNING, "beside")
    assert said(caplog) == ["beside"]
    with pytest.raises(Broken):
        async with payments.database.transaction() as session:
            await session.execute(text("select 1"))
            log_once_committed(session, log, logging.WARNING, "in the transaction")
            raise Broken
    assert said(caplog) == ["beside"]


async def test_a_session_goes_on_without_what_it_rolled_back(payments, caplog):
    async with payments.database.messages() as session:
        await session.execute(text("select 1"))
        log_once_committed(session, log, logging.WARNING, "before")
        await session.rollback()
        await session.execute(text("select 1"))
        log_once_committed(session, log, logging.WARNING, "after")
        await session.commit()
        await session.commit()
    assert said(caplog) == ["after"]


async def test_a_loss_that_is_refused_was_not_accepted(payments, caplog):
    lose = "update installation set history_lost_at = now(), history_lost = 'enrolment has read further'"
    async with payments.database.transaction() as session:
        await session.execute(text(lose))

    async def refuse(_session, given):
        raise Malformed(f"{given} is no receipt number")

    async def take(_session, _given):
        pass

    async def known(_session):
        return "receipts to 14"

    decided = {"installation": None, "by": "ops", "reason": "no younger copy"}
    step = restored.AcceptStep("--last-receipt", "", refuse, known)
    with pytest.raises(Malformed, match="14x"):
        await restored.accept(payments.database, {}, **decided, step=step, given="14x")
    assert "accepted" not in caplog.text
    step = restored.AcceptStep("--last-receipt", "", take, known)
    assert await restored.accept(payments.database, {}, **decided, step=step, given="MC-2026-000014") == "accepted"
    assert caplog.text.count("lost history was accepted") == 1
    lines, is_lost = await restored.show(payments.database, {}, step)
    assert not is_lost
    accepted = datetime.strptime(lines[-1], "accepted %Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
    assert abs((payments.database.clock() - accepted).total_seconds()) < 60
