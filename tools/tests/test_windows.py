"""The sandbox has a window open whatever was closed, and never two for want of looking."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

import assessment.app
import assessment.settings
from assessment.commands.windows import close_window
from assessment.queries.windows import accepting_windows
from embedded import windows
from shared.testing.services import under_test


@pytest.fixture
async def service(running, tmp_path):
    async def make_database(name: str) -> str:
        await running.create_role_and_database(name)
        return running.url(name, name)

    def build(url: str):
        return assessment.app.build(
            assessment.settings.Settings(database_url=url, feed_secret=SecretStr("test"), storage_url=tmp_path.as_uri())
        )

    async with under_test(build, make_database, "sandbox_windows") as service:
        yield service


async def test_a_window_is_opened_whenever_none_stays_open(service):
    database = service.process.database
    assert await windows.open_one(database)
    assert not await windows.open_one(database)
    async with database.transaction() as session:
        (only,) = await accepting_windows(session, service.clock())
        await close_window(session, "an examiner", only.window_id)
    assert await windows.open_one(database), "it was closed to be marked"
    service.clock.at += windows.LASTS - timedelta(seconds=30)
    assert await windows.open_one(database), "it is about to close"
    assert not await windows.open_one(database)
