"""The sample catalogue against the real catalogue and assessment, events handed over by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

import assessment.app
import assessment.settings
import catalogue.app
import catalogue.settings
from embedded import seed
from shared.messaging.message import read
from shared.messaging.tables import Outgoing
from shared.outages import DATABASE_ERRORS
from shared.testing.services import ServiceUnderTest, under_test

CONTENT = Path(seed.__file__).parents[1] / "content"
COURSES = len(list((CONTENT / "courses").glob("*.json")))


class Stage:
    """Both services, and the clients of an editor and an examiner."""

    def __init__(self, courses: ServiceUnderTest, briefs: ServiceUnderTest) -> None:
        self.courses, self.briefs = courses, briefs
        self.editor, self.examiner = courses.client("catalogue_editor"), briefs.client("examiner")
        self.delivered = 0

    async def deliver(self) -> None:
        """Hand assessment what the catalogue announced, late, as long as it takes."""
        while True:
            await asyncio.sleep(0.3)
            with suppress(*DATABASE_ERRORS):  # a statement may time out on a busy machine
                await self._deliver()

    async def _deliver(self) -> None:
        async with self.courses.process.database.transaction() as session:
            after = select(Outgoing).where(Outgoing.position > self.delivered).order_by(Outgoing.position)
            rows = (await session.scalars(after)).all()
        inbox = self.briefs.service.inbox
        async with self.briefs.process.database.transaction() as session:
            for row in rows:
                if row.type in inbox.types:
                    await inbox.receive(session, read(row.body.encode()).event)
        self.delivered = max([self.delivered, *(row.position for row in rows)])

    async def load(self) -> seed.Loaded:
        return await seed.load_catalogue(self.editor, self.examiner, CONTENT)


@pytest.fixture
async def stage(running, tmp_path) -> AsyncIterator[Stage]:
    secret = SecretStr("test")

    async def make_database(name: str) -> str:
        await running.create_role_and_database(name)
        return running.url(name, name)

    def build_courses(url: str):
        return catalogue.app.build(catalogue.settings.Settings(database_url=url, feed_secret=secret))

    def build_briefs(url: str):
        settings = assessment.settings.Settings(database_url=url, feed_secret=secret, storage_url=tmp_path.as_uri())
        return assessment.app.build(settings)

    async with (
        under_test(build_courses, make_database, "seed_courses") as courses,
        under_test(build_briefs, make_database, "seed_briefs") as briefs,
    ):
        stage = Stage(courses, briefs)
        async with stage.editor, stage.examiner, asyncio.TaskGroup() as group:
            delivering = group.create_task(stage.deliver())
            yield stage
            delivering.cancel()


class BrokenOff(Exception):
    pass


async def test_the_sample_is_loaded_once_however_often_a_run_is_broken_off(stage: Stage) -> None:
    requests = 0

    async def break_off(request: httpx.Request) -> None:
        nonlocal requests
        requests += 1
        if requests in {3, 20, 21, 60, 101}:
            raise BrokenOff

    stage.editor.event_hooks["request"].append(break_off)
    for _ in range(5):
        with pytest.raises(BrokenOff):
            await stage.load()
    last = await stage.load()

    page = (await stage.editor.get("/v1/courses", params={"limit": 100})).json()
    assert (page["total"], len(page["items"])) == (COURSES, COURSES)
    assert COURSES >= 30
    assert len(page["facets"]["subjects"]) >= 8
    assert (await stage.editor.get("/v1/courses/drafts")).json()["items"] == []
    assert last.published + last.present == COURSES

    again = await stage.load()
    assert (again.published, again.present, again.briefs) == (0, COURSES, 0)
