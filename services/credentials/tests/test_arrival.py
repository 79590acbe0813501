"""What arrives late, or while something is compared, changes no result."""

import pytest
from sqlalchemy import func, select

from credentials.commands import documents, rebuild
from credentials.queries.documents import documents_of, newest_editions
from credentials.queries.records import record_of
from credentials.tables.documents import Edition
from credentials.tables.issued import Eligibility
from shared.ids import new_id

from .announcements import (
    BEFORE,
    DS,
    activated,
    consume,
    course,
    credit,
    hold_credit,
    introduce,
    let_time_work,
    passed,
    renamed,
)
from .comparison import compared
from .rebuilds import found, recognise


@pytest.fixture
async def learner(session):
    learner = new_id()
    await introduce(session, learner)
    return learner


async def test_a_pending_pass_stays_beside_recognised_credit(service, session, learner) -> None:
    await consume(session, course("DS01", DS), passed(learner, "DS01"))
    await recognise(session, learner, 1)
    async with service.client("learner", id=learner) as client:
        lines = (await client.get("/v1/credits")).json()["items"]
    assert sorted(line["status"] for line in lines) == ["pending", "ratified"]


async def test_recognised_credit_has_no_badge_to_differ_by(service, session, learner) -> None:
    await recognise(session, learner, 1)
    await session.flush()
    assert (await compared(service))["differing"] == []


@pytest.mark.parametrize("is_late", [False, True])
async def test_documents_say_where_a_course_was_taught_whenever_its_event_arrives(
    service, session, learner, is_late
) -> None:
    events = [credit(learner, "DS01", DS), course("DS01", DS)]
    await consume(session, *(events if is_late else reversed(events)))
    await let_time_work(service)
    session.expire_all()
    assert (await compared(service))["differing"] == []
    newest = [content for on_file in await documents_of(session, learner) if (content := on_file.edition.content)]
    (transcript,), (certificate,) = (
        [one for one in newest if "credits" in one and "awards" in one],
        [one for one in newest if "course_code" in one],
    )
    assert certificate["institution"] == transcript["credits"][0]["institution"] == "Northbridge University"
    versions = await session.scalar(select(func.count()).select_from(Edition))
    assert versions == (4 if is_late else 2)


async def test_a_document_that_does_not_say_where_is_named(service, session, learner) -> None:
    await consume(session, credit(learner, "DS01", DS), course("DS01", DS))
    assert (await compared(service))["differing"] == [str(learner)]


async def test_regulations_pinned_after_the_credit_count_at_once(service, session, learner) -> None:
    await hold_credit(session, learner, DS=5, MG=3)
    before = (await session.get(Eligibility, learner)).titles
    await consume(session, activated(learner, "mc-regs-2026.1"))
    session.expire_all()
    after = (await session.get(Eligibility, learner)).titles
    record = await record_of(session, learner, BEFORE)
    assert record.pinned == {"mc-regs-2026.1"}
    assert (await compared(service))["differing"] == []
    assert before != after


async def test_what_arrives_while_all_is_derived_anew_is_no_difference(live, monkeypatch) -> None:
    learner, database = new_id(), live.process.database
    async with database.transaction() as session:
        await introduce(session, learner)
        await hold_credit(session, learner, DS=3)
    fill = rebuild.fill_shadow

    async def interrupted(connection, now) -> int:
        count = await fill(connection, now)
        async with database.transaction() as session:
            await hold_credit(session, learner, DS=4)
        return count

    monkeypatch.setattr(rebuild, "fill_shadow", interrupted)
    assert await found(live) == []


async def test_what_arrives_while_a_record_is_read_is_no_difference(live, monkeypatch) -> None:
    """Credit that is committed between two of its statements, for the operator's comparison and for the rebuild."""
    learner, database, looked = new_id(), live.process.database, []
    async with database.transaction() as session:
        await introduce(session, learner)
        await hold_credit(session, learner, DS=3)
    read = newest_editions

    async def interrupted(session, learner_id) -> list:
        if not looked:
            looked.append(learner_id)
            async with database.transaction() as other:
                await hold_credit(other, learner, DS=4)
        return await read(session, learner_id)

    monkeypatch.setattr(documents, "newest_editions", interrupted)
    assert (await compared(live))["differing"] == []
    looked.clear()
    monkeypatch.undo()
    async with database.transaction() as session:
        await consume(session, renamed(DS, "Data"))
    await let_time_work(live)
    assert await found(live) == []
