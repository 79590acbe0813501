"""Evidence for another name that arrives while its learner is anonymised."""

import asyncio

from sqlalchemy import func, select

from enrolment.commands import learners, names
from enrolment.tables import NameEvidence, NameRequest
from shared.ids import new_id
from shared.storage import ObjectStorage
from shared.uploads import Upload, UploadPolicy

from .conftest import FORM


async def test_no_evidence_outlives_an_erasure_that_it_met(live) -> None:
    learner, database = new_id(), live.process.database
    async with database.transaction() as session:
        await learners.register_learner(session, learner, FORM, live.process.digests)
        body = names.NewName("Okonkwo", None, None, "My passport shows it.")
        request_id = (await names.open_request(session, learner, body)).request_id
    storage, policy = live.service.resources[ObjectStorage], live.service.resources[UploadPolicy]
    stored, go_on = asyncio.Event(), asyncio.Event()

    async def passport():
        yield b"%PDF-1.7 my passport"

    async def add() -> None:
        async with database.transaction() as session:
            request = await session.get(NameRequest, request_id)
            await names.add_evidence(session, storage, request, Upload("passport.pdf", None, passport()), policy)
            stored.set()
            await go_on.wait()  # before it is committed

    async def erase() -> None:
        await stored.wait()
        async with database.transaction() as session:
            await learners.anonymise_learner(session, learner, by="registrar")

    adding, erasing = asyncio.create_task(add()), asyncio.create_task(erase())
    await stored.wait()
    await asyncio.sleep(0.3)
    go_on.set()
    await adding
    await erasing
    async with database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(NameEvidence)) == 0
