"""Who was anonymised says nothing more, and no badge is made out to an address that is gone."""

import asyncio

import pytest
from sqlalchemy import func, select

from credentials import jobs
from credentials.commands import people
from credentials.domain.people import HolderAnonymised
from credentials.exchange.commands import sharing
from credentials.exchange.domain.sharing import Scope, ShareSecrets
from credentials.tables.awards import Award
from credentials.tables.prior_learning import Evidence, PriorLearning
from credentials.tables.sharing import Share
from credentials.tables.transfers import Transfer
from openbadges.badges import identity_hash
from shared.directory import LocalDirectory
from shared.events.enrolment import LearnerAnonymised
from shared.ids import new_id

from .announcements import BEFORE, DS, consume, course, credit, introduce, let_time_work, work_of
from .erasure import holder, identifiers, moved, sign_while

SHARE = {"recipient": "A Writer", "purpose": "A Writer's", "whole_record": True, "days": 30}
RECOGNITION = {
    "institution": "Another University",
    "title": "Statistics",
    "credits": 15,
    "level": 7,
    "completed_on": "2025-06-30",
    "statement": "I am a writer.",
}


@pytest.fixture
async def erased(session, clock):
    """Anonymised, and still with a token in hand."""
    learner = new_id()
    await introduce(session, learner)
    await consume(session, course("DS01", DS), credit(learner, "DS01", DS))
    await consume(session, LearnerAnonymised(learner_id=learner, anonymised_at=clock()))
    session.expire_all()
    return learner


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/shares", SHARE),
        ("/v1/recognitions", RECOGNITION),
        ("/v1/award-claims", {"level": "pgcert", "title": "PGCert in Data Science"}),
        ("/v1/transfers", {"programme_id": str(new_id()), "credit_ids": [str(new_id())]}),
    ],
)
async def test_who_was_anonymised_says_nothing_more(service, session, erased, path, body) -> None:
    async with service.client("learner", id=erased) as client:
        answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (410, "holder_anonymised"), answer.text
    for table in (Share, PriorLearning, Award, Transfer):
        assert await session.scalar(select(func.count()).select_from(table)) == 0


async def test_evidence_that_arrives_after_the_erasure_is_not_kept(service, session, clock) -> None:
    learner = new_id()
    await introduce(session, learner)
    async with service.client("learner", id=learner) as client:
        opened = (await client.post("/v1/recognitions", json=RECOGNITION)).json()
        await consume(session, LearnerAnonymised(learner_id=learner, anonymised_at=clock()))
        session.expire_all()
        path = f"/v1/recognition-uploads/{opened['recognition_id']}"
        answer = await client.put(path, params={"filename": "passport.pdf"}, content=b"%PDF-1.7 a passport")
    assert (answer.status_code, answer.json()["code"]) == (410, "holder_anonymised"), answer.text
    assert await session.scalar(select(func.count()).select_from(Evidence)) == 0


async def test_an_erasure_that_is_under_way_is_waited_for(live) -> None:
    learner, database = new_id(), live.process.database
    async with database.transaction() as session:
        await introduce(session, learner)
        await consume(session, course("DS01", DS), credit(learner, "DS01", DS))
    erased, go_on = asyncio.Event(), asyncio.Event()

    async def erase() -> None:
        async with database.transaction() as session:
            await people.erase_person(session, learner, BEFORE)
            erased.set()
            await go_on.wait()

    async def share() -> None:
        await erased.wait()
        async with database.transaction() as session:
            await sharing.grant_link(
                session,
                learner,
                Scope(whole_record=True),
                recipient="A Writer",
                purpose="",
                days=30,
                lock=sharing.Lock(),
                secrets=ShareSecrets(b""),
            )

    erasing, sharing_ = asyncio.create_task(erase()), asyncio.create_task(share())
    await erased.wait()
    await asyncio.sleep(0.3)
    go_on.set()
    await erasing
    with pytest.raises(HolderAnonymised):
        await sharing_


@pytest.mark.parametrize("is_corrected", [False, True])
async def test_no_badge_is_made_out_to_who_was_erased_while_it_was_signed(service, session, clock, is_corrected):
    learner = await holder(service, session)
    if is_corrected:
        await let_time_work(service)
        await moved(service, session, clock, learner)

    async def erase() -> None:
        await consume(session, LearnerAnonymised(learner_id=learner, anonymised_at=clock()))

    await sign_while(service, session, erase)
    await let_time_work(service)
    assert await identifiers(session, learner) == [[]]


async def test_no_badge_is_made_out_to_an_address_that_was_left_while_it_was_signed(service, session, clock) -> None:
    learner = await holder(service, session)
    kept: list[LocalDirectory] = []

    async def move() -> None:
        kept.append(await moved(service, session, clock, learner))

    await sign_while(service, session, move)
    await jobs.sign_badges(work_of(service, kept[0]))
    [[identifier]] = await identifiers(session, learner)
    assert identifier["identityHash"] == identity_hash("new@x.example", identifier["salt"])
