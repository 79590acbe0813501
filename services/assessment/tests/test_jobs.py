import asyncio
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text

from assessment import jobs
from assessment.tables import Decision, Submission, Window
from shared.due_rows import list_set_aside
from shared.events.assessment import WindowClosed, WindowOpened, WindowPublished
from shared.file_checks import FileTooLarge
from shared.jobs import Work
from shared.messaging.tables import Outgoing
from shared.storage import ObjectStorage, StorageUnavailable, open_storage
from shared.store_owner import installation_id
from shared.uploads import UploadPolicy


@pytest.fixture
async def work(service, driver) -> Work:
    resources = service.service.resources
    await resources[ObjectStorage].claim(await installation_id(service.process.database), anew=True)
    policy = replace(resources[UploadPolicy], orphans_at_once=1000)  # other tests have left files too
    return Work(service.process.database, {**resources, UploadPolicy: policy})


# Windows


async def test_the_coming_windows_are_published_once(driver, work, session):
    await jobs.publish_windows(work)
    await jobs.publish_windows(work)
    announced = await driver.announced(WindowPublished)
    assert [(one.opens_at, one.closes_at) for one in announced] == [
        (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 8, tzinfo=UTC)),
        (datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 8, tzinfo=UTC)),
        (datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 8, tzinfo=UTC)),
    ]
    decisions = (await session.scalars(select(Decision))).all()
    assert {(one.kind, one.actor) for one in decisions} == {("window_published", "mc-regs-2026.2")}


async def test_a_month_later_one_more_window_is_published(driver, work, session):
    await jobs.publish_windows(work)
    driver.clock.at = datetime(2026, 12, 1, tzinfo=UTC)
    await jobs.publish_windows(work)
    periods = (await session.scalars(select(Window.period).order_by(Window.period))).all()
    assert periods == ["2026-11", "2026-12", "2027-01", "2027-02"]


async def test_a_window_closed_early_is_not_published_again(driver, work, session):
    await jobs.publish_windows(work)
    november = (await session.scalars(select(Window).where(Window.period == "2026-11"))).one()
    await driver.close(november.window_id)
    await jobs.publish_windows(work)
    assert len((await session.scalars(select(Window))).all()) == 3


async def test_a_closing_is_announced_once_and_after_its_grace(driver, work):
    window_id = await driver.window(closes_at=driver.closes, grace_seconds=60)
    for at, times in [
        (driver.closes, 0),
        (driver.closes + timedelta(seconds=59, microseconds=999_999), 0),
        (driver.closes + timedelta(seconds=60), 1),
        (driver.closes + timedelta(days=1), 1),
    ]:
        driver.clock.at = at
        await jobs.announce_windows(work)
        assert len(await driver.announced(WindowClosed)) == times
    [closed] = await driver.announced(WindowClosed)
    assert (closed.window_id, closed.closed_at) == (window_id, driver.closes + timedelta(seconds=60))


async def test_an_opening_is_announced_once_and_not_before_its_time(driver, work):
    opens_at = driver.clock() + timedelta(days=1)
    window_id = await driver.window(opens_at=opens_at, closes_at=driver.closes)
    for at, times in [
        (opens_at - timedelta(microseconds=1), 0),
        (opens_at, 1),
        (opens_at + timedelta(hours=1), 1),
        (driver.closes + timedelta(days=1), 1),
    ]:
        driver.clock.at = at
        await jobs.announce_windows(work)
        assert len(await driver.announced(WindowOpened)) == times
    [opened] = await driver.announced(WindowOpened)
    assert (opened.window_id, opened.opened_at, opened.closes_at) == (window_id, opens_at, driver.closes)


async def test_a_window_that_passed_while_nobody_looked_is_announced_whole_and_in_order(driver, work):
    await driver.window(closes_at=driver.closes)
    driver.clock.at = driver.closes + timedelta(days=3)
    await jobs.announce_windows(work)
    await jobs.announce_windows(work)
    announced = await driver.announced(WindowOpened, WindowClosed)
    assert [type(one) for one in announced] == [WindowOpened, WindowClosed]


async def test_a_window_that_cannot_be_announced_holds_up_no_other(driver, work, session, monkeypatch):
    bad, good = await driver.window(), await driver.window()
    announce = jobs.windows.announce_opening

    async def but_not_that_one(session, window_id):
        await announce(session, window_id)
        if window_id == bad:
            await session.execute(text("select 1 / 0"))

    monkeypatch.setattr(jobs.windows, "announce_opening", but_not_that_one)
    await jobs.announce_windows(work)
    assert [one.window_id for one in await driver.announced(WindowOpened)] == [good]
    assert [(row.job, row.row_key) for row in await list_set_aside(session)] == [("announce_openings", str(bad))]


async def test_a_window_closed_before_its_opening_was_announced_is_announced_whole(driver, work):
    window_id = await driver.window()
    await driver.close(window_id)
    await jobs.announce_windows(work)
    announced = await driver.announced(WindowOpened, WindowClosed)
    assert [type(one) for one in announced] == [WindowOpened, WindowClosed]


async def test_of_windows_that_closed_before_openings_were_announced_nothing_is_said(driver, work, session):
    window_id = await driver.window(closes_at=driver.closes)
    window = await session.get_one(Window, window_id)
    window.closed_at = driver.closes
    await session.commit()
    await jobs.announce_windows(work)
    assert await driver.announced(WindowOpened, WindowClosed) == []


async def test_replicas_at_once_announce_a_window_once(live, driver_class, clock):
    driver = driver_class(live, None, live.clock)
    await driver.window()
    live.clock.advance(days=30)
    work = Work(live.process.database, live.service.resources)
    await asyncio.gather(*(jobs.announce_windows(work) for _ in range(4)))
    async with live.process.database.transaction() as session:
        types = await session.scalars(select(Outgoing.type).where(Outgoing.type != WindowPublished.type))
    assert sorted(types) == [WindowClosed.type, WindowOpened.type]


# Stored files


async def keys(storage: ObjectStorage) -> set[str]:
    return {stored.key async for page in storage.pages() for stored in page}


async def test_files_no_submission_names_are_removed_when_they_are_old(driver, work, session):
    storage, age = work.resource(ObjectStorage), work.resource(UploadPolicy).orphan_age
    await driver.window()
    enrolment = await driver.enrol()
    receipt = await driver.receipt(enrolment, driver.pdf("kept"))
    assert (await driver.submit(enrolment, driver.pdf("kept"))).status_code == 200  # stored again: that copy is named
    named = (await session.get(Submission, UUID(receipt["submission_id"]), populate_existing=True)).storage_key
    orphans = await keys(storage) - {named}
    assert orphans

    driver.clock.at = datetime.now(UTC) + age - timedelta(hours=1)  # the store has a clock of its own
    await jobs.remove_orphans(work)
    assert orphans <= await keys(storage)

    driver.clock.at = datetime.now(UTC) + age + timedelta(hours=1)
    await jobs.remove_orphans(work)
    left = await keys(storage)
    assert named in left
    assert not orphans & left


async def chunks(*parts: bytes):
    for part in parts:
        yield part


@pytest.fixture(params=["memory", "folder"])
def storage(request, folder) -> ObjectStorage:
    folder.mkdir()
    return open_storage("memory:///" if request.param == "memory" else folder.as_uri())


async def test_what_is_stored_comes_back_whole(storage):
    content = [bytes([number]) * 1024 * 1024 for number in range(12)]  # more than one part
    await storage.put("a", chunks(*content))
    assert b"".join([chunk async for chunk in await storage.open("a")]) == b"".join(content)
    assert await keys(storage) == {"a"}
    await storage.delete("a")
    await storage.delete("a")
    assert await keys(storage) == set()


async def test_what_breaks_off_is_not_stored(storage):
    async def breaks():
        yield b"x" * 6 * 1024 * 1024
        raise FileTooLarge("enough")

    with pytest.raises(FileTooLarge):
        await storage.put("a", breaks())
    assert await keys(storage) == set()
    with pytest.raises(StorageUnavailable):
        await storage.open("a")


async def test_a_folder_holds_nothing_of_what_broke_off(folder):
    async def breaks():
        yield b"x" * 6 * 1024 * 1024
        raise FileTooLarge("enough")

    folder.mkdir()
    with pytest.raises(FileTooLarge):
        await open_storage(folder.as_uri()).put("a", breaks())
    assert list(folder.iterdir()) == []


async def test_a_broken_store_is_reported_plainly(folder):
    folder.write_text("in the way")
    storage = open_storage(folder.as_uri())
    with pytest.raises(StorageUnavailable):
        await storage.put("a", chunks(b"x"))
    folder.unlink()
    folder.mkdir()
    await storage.put("a", chunks(b"x"))
    (folder / "a").unlink()
    folder.rmdir()
    folder.write_text("in the way again")
    with pytest.raises(StorageUnavailable):
        await storage.put("b", chunks(b"x"))


async def test_a_folder_is_made_only_when_it_is_claimed(folder):
    storage = open_storage(folder.as_uri())
    assert await storage.owner() is None
    assert await keys(storage) == set()
    with pytest.raises(StorageUnavailable):
        await storage.put("a", chunks(b"x"))
    assert not folder.exists()
    await storage.claim("ours")
    await storage.put("a", chunks(b"x"))
    assert await keys(storage) == {"a"}


def test_an_unknown_kind_of_store_stops_the_start():
    with pytest.raises(ValueError, match="ftp"):
        open_storage("ftp://somewhere")


async def test_a_start_on_an_empty_database_takes_no_file(live, folder):
    """Nor does the job itself, should somebody call it: it is not this installation's store."""
    storage = open_storage(folder.as_uri())
    await storage.claim("the installation that wrote them")
    for number in range(25):
        await storage.put(f"work {number}", chunks(b"x"))
        os.utime(folder / f"work {number}", (seven_hours_ago := time.time() - 7 * 3600, seven_hours_ago))
    work = Work(live.process.database, {**live.service.resources, ObjectStorage: storage})
    live.clock.at = datetime.now(UTC)
    running = asyncio.create_task(jobs.jobs.run(work))
    done, _ = await asyncio.wait({running}, timeout=3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not done
    await jobs.remove_orphans(work)
    assert len(await keys(storage)) == 25
    async with live.process.database.transaction() as session:
        seen = {(row.job, row.last_error.partition("(")[0]) for row in await list_set_aside(session)}
    assert seen == {("claim_store", "ForeignStore"), ("remove_orphans", "ForeignStore")}
