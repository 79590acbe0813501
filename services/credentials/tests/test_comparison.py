"""What is kept against what the ledger gives when everything is derived anew."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from credentials.queries.documents import latest_transcript
from credentials.tables.documents import Edition
from credentials.tables.facts import Credit
from credentials.tables.issued import Badge, Eligibility
from shared.ids import new_id

from .announcements import DS, consume, credit, hold_credit, introduce, let_time_work, registered, revoked
from .comparison import URL, compared


async def test_records_kept_are_those_derived_anew(service, session, clock) -> None:
    learners = [new_id() for _ in range(3)]
    for learner in learners:
        await consume(session, registered(learner))
        await hold_credit(session, learner, DS=4)
    await consume(session, revoked(learners[-1], "DS02"))
    await let_time_work(service)
    assert await compared(service) == {"compared": 3, "differing": [], "next_cursor": None}


async def test_a_learner_without_credit_has_nothing_to_differ(service, session, clock) -> None:
    await consume(session, registered(new_id()))
    assert (await compared(service))["differing"] == []


async def test_the_learners_come_in_pages(service, session, clock) -> None:
    for _ in range(3):
        await consume(session, registered(new_id()))
    async with service.client("operator") as client:
        first = (await client.get(URL, params={"limit": 2})).json()
        second = (await client.get(URL, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [first["compared"], second["compared"], second["next_cursor"]] == [2, 1, None]


NOW = datetime(2026, 11, 1, tzinfo=UTC)
FALSIFIED = {
    "a badge was revoked for no reason": update(Badge).values(revoked_at=NOW),
    "titles were announced that are not due": update(Eligibility).values(titles={"pgcert": ["PGCert in Anything"]}),
}


@pytest.mark.parametrize("what", FALSIFIED)
async def test_what_differs_is_named(service, session, clock, what) -> None:
    learner = new_id()
    await consume(session, registered(learner))
    await hold_credit(session, learner, DS=4)
    await session.execute(FALSIFIED[what])
    assert (await compared(service))["differing"] == [str(learner)]


async def test_a_transcript_that_says_something_else_is_named(service, session, clock) -> None:
    learner = new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=1)
    wrong = {"version": 9, "content": {}, "content_sha256": "00", "sha256": "00", "as_at": NOW}
    printed = await latest_transcript(session, learner)
    session.add(Edition(edition_id=new_id(), document_id=printed.document_id, **wrong))
    await session.flush()
    assert (await compared(service))["differing"] == [str(learner)]


async def test_credit_from_which_nothing_followed_is_named(service, session, clock) -> None:
    learner = new_id()
    await consume(session, registered(learner))
    given = credit(learner, "DS01", DS)
    columns = {name: value for name, value in dict(given).items() if hasattr(Credit, name)}
    session.add(Credit(**columns, family=given.module_family, source="internal"))
    await session.flush()
    assert (await compared(service))["differing"] == [str(learner)]
