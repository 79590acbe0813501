"""Renaming a subject renews its courses' listings some at a time, and overwrites nothing that happened meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from catalogue.commands import reference
from catalogue.commands.courses import publish_course, withdraw_course
from catalogue.commands.reference import rename_subject
from catalogue.jobs import renew_listings, renew_listings_again
from catalogue.tables import Subject
from shared.due_rows import list_set_aside
from shared.events.catalogue import CoursePublished, SubjectRenamed
from shared.jobs import Work
from shared.testing.services import ServiceUnderTest, published

from .writing import course, draft, open_references, publish

NAMES = {"name": "Data Studies", "award_name": "Data Studies"}


@pytest.fixture
async def editor(live: ServiceUnderTest) -> AsyncIterator[httpx.AsyncClient]:
    """An editor on a database whose commits are real."""
    async with live.client("catalogue_editor") as client:
        await open_references(client)
        yield client


@pytest.fixture
def work(live: ServiceUnderTest) -> Work:
    return Work(live.process.database, {})


async def subject_id(live: ServiceUnderTest) -> Any:
    async with live.process.database.transaction() as session:
        return await session.scalar(select(Subject.subject_id).where(Subject.slug == "data-science"))


async def rename(live: ServiceUnderTest, editor: httpx.AsyncClient, names: dict[str, str] = NAMES) -> None:
    answer = await editor.put(f"/v1/subjects/{await subject_id(live)}/names", json=names)
    assert answer.status_code == 200, answer.text


async def test_each_renaming_is_announced_later_than_those_before_whatever_the_clocks_say(live, editor) -> None:
    """Who receives several holds to the latest; replicas tell the time differently."""
    for n, seconds in enumerate((0, -6, 0)):
        live.clock.advance(seconds=seconds)
        await rename(live, editor, {"name": f"Name {n}", "award_name": f"Data {chr(ord('A') + n)}"})
    async with live.process.database.transaction() as session:
        announced = [one for one in await published(session) if isinstance(one, SubjectRenamed)]
    assert [one.award_name for one in announced] == ["Data A", "Data B", "Data C"]
    assert announced == sorted(announced, key=lambda one: one.effective_from)
    assert len({one.effective_from for one in announced}) == len(announced)


async def test_each_version_is_announced_as_published_later_than_those_before_whatever_the_clocks_say(
    live, editor
) -> None:
    """Who copies what is on sale holds to the version published last."""
    written = await publish(editor)
    for seconds in (-6, 0):
        live.clock.advance(seconds=seconds)
        await editor.post(f"/v1/courses/{written['course_id']}/versions")
        await editor.post(f"/v1/courses/{written['course_id']}/publication")
    async with live.process.database.transaction() as session:
        announced = [one for one in await published(session) if isinstance(one, CoursePublished)]
    dates = [one.published_at for one in sorted(announced, key=lambda one: one.version)]
    assert dates == sorted(set(dates))
    assert len(dates) == 3


async def page(live: ServiceUnderTest, slug: str = "causal-inference") -> dict[str, Any]:
    async with live.client() as anyone:
        return (await anyone.get(f"/v1/courses/{slug}")).json()


async def test_many_courses_are_renewed_in_batches_each_committed(live, editor, work, monkeypatch) -> None:
    monkeypatch.setattr(reference, "BATCH", 3)
    for n in range(8):
        await publish(editor, f"course-{n}")
    await publish(editor, "other", subject="law")
    async with live.process.database.transaction() as session:
        await session.execute(text("create table steps (course_id uuid, xid xid8 default pg_current_xact_id())"))
        await session.execute(
            text(
                "create function note() returns trigger language plpgsql as "
                "$$ begin insert into steps (course_id) values (new.course_id); return null; end $$"
            )
        )
        await session.execute(text("create trigger note after update on listings for each row execute function note()"))
    await rename(live, editor)
    await renew_listings(work)
    async with live.process.database.transaction() as session:
        steps = await session.execute(text("select count(*) from steps group by xid order by 1"))
        assert [*steps.scalars()] == [2, 3, 3]
    for n in range(8):
        assert (await page(live, f"course-{n}"))["subject"]["name"] == "Data Studies"
    assert (await page(live, "other"))["subject"]["name"] == "Law"


async def test_what_was_renewed_before_a_crash_is_not_renewed_again(live, editor, work, monkeypatch) -> None:
    monkeypatch.setattr(reference, "BATCH", 1)
    for n in range(3):
        await publish(editor, f"course-{n}")
    await rename(live, editor)
    begun: list[Any] = []
    whole = reference.renew_listings

    async def dying(session: Any, course_ids: Any) -> None:
        begun.extend(course_ids)
        await whole(session, course_ids)
        if len(begun) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(reference, "renew_listings", dying)
    with pytest.raises(asyncio.CancelledError):
        await renew_listings(work)
    await renew_listings(work)
    first, broken_off, again, third = begun
    assert (broken_off, len({first, broken_off, third})) == (again, 3)
    for n in range(3):
        assert (await page(live, f"course-{n}"))["subject"]["name"] == "Data Studies"


async def meanwhile(live: ServiceUnderTest, first: Any, second: Any) -> None:
    """`first` has written and not committed when `second` begins, and commits when that waits or has passed by."""
    async with live.process.database.transaction() as session:
        await first(session)
        other = asyncio.create_task(second())
        await asyncio.sleep(0.3)
    await other


async def test_a_course_withdrawn_meanwhile_stays_withdrawn(live, editor, work) -> None:
    made = await publish(editor)
    await rename(live, editor)
    await meanwhile(
        live,
        lambda session: withdraw_course(session, made["course_id"], by="editor"),
        lambda: renew_listings(work),
    )
    after = await page(live)
    assert (after["state"], after["subject"]["name"]) == ("withdrawn", "Data Studies")


async def test_a_version_published_meanwhile_stays_on_the_page(live, editor, work) -> None:
    made = await publish(editor)
    await second_draft(editor, made)
    await rename(live, editor)
    await meanwhile(
        live,
        lambda session: publish_course(session, made["course_id"], by="editor"),
        lambda: renew_listings(work),
    )
    after = await page(live)
    assert (after["version"], after["title"], after["subject"]["name"]) == (2, "Causes", "Data Studies")


async def test_a_course_published_while_its_subject_is_renamed_has_the_new_name(live, editor, work) -> None:
    made = await draft(editor)
    await meanwhile(
        live,
        lambda session: publish_course(session, made["course_id"], by="editor"),
        lambda: rename(live, editor),
    )
    await renew_listings(work)
    assert (await page(live))["subject"]["name"] == "Data Studies"


async def test_a_subject_renamed_while_a_course_is_published_gives_it_the_new_name(live, editor, work) -> None:
    made = await publish(editor)
    await second_draft(editor, made)
    wanted = await subject_id(live)

    async def publish_it() -> None:
        answer = await editor.post(f"/v1/courses/{made['course_id']}/publication")
        assert answer.status_code == 200, answer.text

    await meanwhile(live, lambda session: rename_subject(session, wanted, **NAMES), publish_it)
    assert (await page(live))["subject"]["name"] == "Data Studies"


async def second_draft(editor: httpx.AsyncClient, made: dict[str, Any]) -> None:
    path = f"/v1/courses/{made['course_id']}"
    assert (await editor.post(f"{path}/versions")).status_code == 201
    text_ = {name: value for name, value in course(title="Causes").items() if name not in ("slug", "code", "price")}
    text_.pop("module_family")
    answer = await editor.put(f"{path}/draft", json=text_)
    assert answer.status_code == 200, answer.text


async def test_a_course_whose_listing_cannot_be_renewed_holds_up_no_other(live, editor, work, monkeypatch) -> None:
    monkeypatch.setattr(reference, "BATCH", 3)
    made = [await publish(editor, f"course-{n}") for n in range(5)]
    bad = made[1]["course_id"]
    async with live.process.database.transaction() as session:
        await session.execute(
            text(
                "create function refuse() returns trigger language plpgsql as "
                "$$ begin raise program_limit_exceeded; end $$"
            )
        )
        refuse = f"for each row when (new.course_id = '{bad}') execute function refuse()"
        await session.execute(text(f"create trigger refuse before update on listings {refuse}"))
    await rename(live, editor)
    await renew_listings(work)
    names = [(await page(live, f"course-{n}"))["subject"]["name"] for n in range(5)]
    assert names == ["Data Studies", "Data Science", "Data Studies", "Data Studies", "Data Studies"]
    async with live.process.database.transaction() as session:
        assert [(one.job, one.row_key) for one in await list_set_aside(session)] == [("renew_listing", bad)]
        assert await session.scalar(select(Subject.renewed_up_to).where(Subject.slug == "data-science")) is None
        await session.execute(text("drop trigger refuse on listings"))
    live.clock.advance(minutes=2)
    await renew_listings_again(work)
    assert (await page(live, "course-1"))["subject"]["name"] == "Data Studies"
    async with live.process.database.transaction() as session:
        assert await list_set_aside(session) == []


async def test_a_renaming_that_cannot_be_finished_sets_its_subject_aside(live, editor, work) -> None:
    await publish(editor)
    await rename(live, editor)
    async with live.process.database.transaction() as session:
        await session.execute(
            text("alter table subjects add constraint never check (renewed_up_to is not null) not valid")
        )
    await renew_listings(work)
    async with live.process.database.transaction() as session:
        assert [one.job for one in await list_set_aside(session)] == ["renew_listings"]
