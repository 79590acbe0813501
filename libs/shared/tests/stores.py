"""One database, one file store, and the rows that name files, as the tests of stores have them."""

import argparse
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from shared.database import Database
from shared.file_checks import Checked
from shared.jobs import Work
from shared.messaging.tables import SetAside
from shared.orphans import files_command, remove_orphans
from shared.storage import ObjectStorage
from shared.store_owner import claim_store
from shared.testing.services import FrozenClock
from shared.uploads import UploadPolicy

HANDFUL = 3
AGE = timedelta(hours=6)


class ResponseCache:
    """One database, one store, and the rows that name files."""

    def __init__(self, database: Database, storage: ObjectStorage, clock: FrozenClock) -> None:
        policy = UploadPolicy(
            store="test",
            named=self.named,
            names_any=self.names_any,
            longest=AGE,
            orphan_age=AGE,
            orphans_at_once=HANDFUL,
        )
        self.work = Work(database, {ObjectStorage: storage, UploadPolicy: policy})
        self.storage, self.clock = storage, clock
        self.rows: set[str] = set()
        self.asked = 0

    async def named(self, _session, keys):
        return {key: self.recorded(key) for key in self.rows.intersection(keys)}

    async def names_any(self, _session):
        return bool(self.rows)

    def recorded(self, key):
        """What the row of a file says that holds its own key."""
        return Checked(hashlib.sha256(key.encode()).hexdigest(), len(key.encode()))

    async def put(self, *keys, named=False):
        for key in keys:
            await self.storage.put(key, pieces(key.encode()))
        if named:
            self.rows.update(keys)

    async def claim(self):
        await claim_store(self.work)

    async def remove(self):
        await remove_orphans(self.work)

    async def files(self):
        return {one.key async for page in self.storage.pages() for one in page}

    async def trash(self):
        return {one.key async for page in self.storage.trashed() for one in page}

    async def set_aside(self):
        async with self.work.database.transaction() as session:
            rows = (await session.scalars(select(SetAside).order_by(SetAside.job))).all()
        return [(row.job, row.row_key, row.last_error.partition("(")[0]) for row in rows]

    async def command(self, action):
        chosen = argparse.Namespace(action=action, by="Ada", reason="the database is the right one")
        return await files_command(lambda: self.work.resources).run(self.work.database, chosen)


async def pieces(content):
    yield content


@pytest.fixture
async def response_cache(payments, storage):
    clock = FrozenClock()
    clock.at = datetime.now(UTC) + AGE + timedelta(hours=1)  # the stores have clocks of their own
    database = Database(payments.url, "payments", notifier=payments.notifier, clock=clock)
    yield ResponseCache(database, storage, clock)
    await database.dispose()
