"""Everything derived anew beside what is kept: nothing differs, or it is named, and applied on somebody's word."""

import argparse

from sqlalchemy import delete, select, text, update

from credentials.__main__ import _rebuild
from credentials.commands import awards
from credentials.tables.facts import Credit, Pin
from credentials.tables.issued import Badge, Eligibility
from credentials.tables.reports import Rebuild
from shared.ids import new_id

from .announcements import (
    DS,
    LAW,
    activated,
    consume,
    course,
    credit,
    hold_credit,
    let_time_work,
    named,
    registered,
    renamed,
    revoked,
)
from .degrees import act, decision, programme, request
from .rebuilds import found, recognise
from .reviews import reinstated
from .shares import P, know


async def record_all(session) -> list:
    """Learners of every kind: plain, pinned, repeated, revoked, renamed, with awards, with credit from elsewhere."""
    learners = [new_id() for _ in range(7)]
    plain, pinned, repeated, lost, awarded, mixed, recognised = learners
    await hold_credit(session, plain, DS=4)
    await consume(session, activated(pinned, "mc-regs-2026.1"))
    await hold_credit(session, pinned, DS=5, MG=3)
    await hold_credit(session, repeated, DS=4)
    await consume(
        session, credit(repeated, "DS01", DS, 80, credit_id=new_id(), enrolment_id=new_id(), submission_id=new_id())
    )
    await hold_credit(session, lost, DS=5)
    await consume(session, revoked(lost, "DS01"), revoked(lost, "DS02"), reinstated(lost, "DS02"))
    await hold_credit(session, awarded, DS=4)
    claimed = await awards.claim_award(session, awarded, "pgcert", "PGCert in Data Science", None)
    await awards.confer_award(session, claimed.award_id, by=new_id())
    await hold_credit(session, awarded, DS=5, MG=4)
    await hold_credit(session, mixed, DS=2, LAW=2)
    await consume(session, renamed(LAW, "Law & Society"))
    # A renaming is a fact about no learner: the next fact about each brings it to them.
    await consume(session, course("LAW03", LAW), credit(mixed, "LAW03", LAW))
    await hold_credit(session, recognised, DS=1)
    for n in range(3):  # one more than the ceiling lets count
        await recognise(session, recognised, n)
    return learners


async def test_what_is_kept_is_what_the_facts_give(live) -> None:
    async with live.process.database.transaction() as session:
        await record_all(session)
    await let_time_work(live)
    assert await found(live) == []


async def test_what_differs_is_named_and_applied_with_a_name_to_it(live, capsys) -> None:
    database = live.process.database
    async with database.transaction() as session:
        plain, *_ = await record_all(session)
    await let_time_work(live)
    async with database.transaction() as session:
        falsified = {"pgcert": ["PGCert in Alchemy"], "pgdip": [], "masters": []}
        await session.execute(update(Eligibility).where(Eligibility.learner_id == plain).values(titles=falsified))
        await session.execute(
            update(Badge).where(Badge.credit_id == named("credit", plain, "DS02")).values(revoked_at=live.clock())
        )
    assert await found(live) == [
        (plain, "title", "PGCert in Alchemy", False),
        (plain, "title", "PGCert in Data Science", True),
        (plain, "badge", "Course DS02", True),
    ]
    assert await _rebuild(database, body(dry_run=True)) == 1
    assert await _rebuild(database, body(apply=True)) == 2
    assert await _rebuild(database, body(apply=True, signed_off_by="The Registrar")) == 0
    assert f"{plain}  gains  badge  Course DS02" in capsys.readouterr().out
    assert await found(live) == []
    async with database.transaction() as session:
        kept = (await session.scalars(select(Rebuild))).one()
    assert (kept.signed_off_by, kept.learners) == ("The Registrar", 1)
    assert await _rebuild(database, body(dry_run=True)) == 0


async def test_a_learner_of_unknown_regulations_is_named_and_the_others_are_derived(live, capsys) -> None:
    """Pinned by a newer release, which was rolled back since."""
    database = live.process.database
    async with database.transaction() as session:
        plain, pinned, *_ = await record_all(session)
    await let_time_work(live)
    async with database.transaction() as session:
        falsified = {"pgcert": [], "pgdip": [], "masters": []}
        await session.execute(update(Eligibility).where(Eligibility.learner_id == plain).values(titles=falsified))
        await session.execute(
            update(Badge).where(Badge.credit_id == named("credit", pinned, "DS02")).values(revoked_at=live.clock())
        )
        of_theirs = update(Pin).where(Pin.learner_id == pinned)
        await session.execute(of_theirs.values(regulations_version="mc-regs-2027.1"))
    assert await found(live) == [
        (pinned, "regulations", "mc-regs-2027.1", False),
        (plain, "title", "PGCert in Data Science", True),
        (pinned, "badge", "Course DS02", True),
    ]
    assert await _rebuild(database, body(apply=True, signed_off_by="The Registrar")) == 1
    assert f"{pinned}  cannot be derived: this release does not know mc-regs-2027.1" in capsys.readouterr().out
    assert [one for one in await found(live) if one[0] == plain] == []


def body(*, dry_run: bool = False, apply: bool = False, signed_off_by: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(dry_run=dry_run, apply=apply, signed_off_by=signed_off_by)


async def test_credit_that_a_degree_elsewhere_holds_counts_no_more(live) -> None:
    """Committed, consumed, and returned; of a module passed twice, the pass that is free counts."""
    async with live.process.database.transaction() as session:
        await know(session, P)
        await consume(session, programme())
        learners = [new_id() for _ in range(4)]
        _, consumed, returned, repeated = learners
        for learner in learners:
            await consume(session, registered(learner))
            await hold_credit(session, learner, DS=4)
        again = credit(repeated, "DS01", DS, 50, credit_id=new_id(), enrolment_id=new_id(), submission_id=new_id())
        await consume(session, again)
    for learner in learners:
        asked = (await request(live, learner, "DS01")).json()["transfer_id"]
        await act(live, asked, "decision", decision(learner, DS01="accept"))
        if learner == consumed:
            await act(live, asked, "completion")
        if learner == returned:
            await act(live, asked, "return", {"reason_code": "left_programme"})
    async with live.process.database.transaction() as session:
        eligible = [(await session.get(Eligibility, learner)).titles["pgcert"] for learner in learners]
    assert [bool(titles) for titles in eligible] == [False, False, True, True]
    await let_time_work(live)
    assert await found(live) == []


async def test_titles_announced_for_credit_that_is_gone_are_lost(live) -> None:
    learner = new_id()
    database = live.process.database
    async with database.transaction() as session:
        await hold_credit(session, learner, DS=4)
    async with database.transaction() as session:
        await session.execute(text("alter table credits disable trigger tr_credits_append_only"))
        await session.execute(delete(Badge))
        await session.execute(delete(Credit))
    assert await found(live) == [(learner, "title", "PGCert in Data Science", False)]
