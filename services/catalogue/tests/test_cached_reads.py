"""Public reads answered from memory: they are what the route would answer, until something changes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from catalogue.adapters.response_cache import ResponseCache
from catalogue.api import cached_reads, public
from catalogue.queries import listings
from shared.testing.services import ServiceUnderTest

from .writing import open_references, publish

# From memory


@pytest.fixture
async def listening(live: ServiceUnderTest) -> AsyncIterator[ServiceUnderTest]:
    """The service with real commits, listening for changes."""
    async with asyncio.TaskGroup() as group:
        assert live.service.also is not None
        tasks = [group.create_task(part()) for part in live.service.also(live.process).values()]
        response_cache: ResponseCache = live.service.resources[ResponseCache]
        await asyncio.wait_for(response_cache.listening.wait(), 5)
        yield live
        for task in tasks:
            task.cancel()


class Reads:
    """Counts how often the database is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for name in ("find_page", "find_courses"):
            counted = self._counted(getattr(listings, name))
            for reader in (cached_reads, public):
                monkeypatch.setattr(reader, name, counted)

    def _counted(self, read: Any) -> Any:
        async def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            return await read(*arguments, **options)

        return counted


PATHS = ("/v1/courses/causal-inference", "/v1/courses?limit=5")


async def test_a_repeated_read_is_answered_from_memory_until_something_changes(listening, monkeypatch) -> None:
    reads = Reads(monkeypatch)
    async with listening.client("catalogue_editor") as editor, listening.client() as anyone:
        await open_references(editor)
        made = await publish(editor)
        await asyncio.sleep(0.2)  # the notification of the publication
        first = [await anyone.get(path) for path in PATHS]
        again = [await anyone.get(path) for path in PATHS]
        assert reads.count == 2
        assert [(a.content, a.headers["etag"]) for a in again] == [(f.content, f.headers["etag"]) for f in first]
        assert all("x-request-id" in answer.headers for answer in again)
        unchanged = await anyone.get(PATHS[0], headers={"If-None-Match": first[0].headers["etag"]})
        assert unchanged.status_code == 304

        price = {"amount_minor": 1, "currency": "GBP", "valid_from": "2026-11-23T12:00:00Z"}
        await editor.post(f"/v1/courses/{made['course_id']}/prices", json=price)
        for path in PATHS:
            for _ in range(500):
                answer = await anyone.get(path)
                if '"amount_minor" : 1,' in answer.text:
                    break
                await asyncio.sleep(0.01)
            else:
                pytest.fail("the change was never seen")


async def test_who_writes_reads_it_at_once(listening) -> None:
    async with listening.client("catalogue_editor") as editor, listening.client() as anyone:
        await open_references(editor)
        for count in range(5):
            assert (await anyone.get("/v1/courses")).json()["total"] == count
            await publish(editor, f"course-{count}")


async def test_who_is_refused_empties_nobodys_memory(listening, monkeypatch) -> None:
    reads = Reads(monkeypatch)
    async with listening.client("catalogue_editor") as editor, listening.client() as anyone:
        await open_references(editor)
        await publish(editor)
        await asyncio.sleep(0.2)  # the notification of the publication
        for _ in range(3):
            assert (await anyone.get("/v1/courses")).status_code == 200
            assert (await anyone.post("/v1/courses", json={})).status_code == 401
    assert reads.count == 1


async def test_memory_ends_where_the_next_price_begins(listening) -> None:
    async with listening.client("catalogue_editor") as editor, listening.client() as anyone:
        await open_references(editor)
        made = await publish(editor)
        price = {"amount_minor": 1, "currency": "GBP", "valid_from": "2026-11-23T12:00:10Z"}
        await editor.post(f"/v1/courses/{made['course_id']}/prices", json=price)
        await asyncio.sleep(0.2)
        amounts = []
        for seconds in (0, 9, 1, 1):
            listening.clock.advance(seconds=seconds)
            amounts.append((await anyone.get(PATHS[0])).json()["price"]["amount_minor"])
        assert amounts == [49500, 49500, 1, 1]


async def test_who_sends_a_token_has_it_checked(listening) -> None:
    async with listening.client("catalogue_editor") as editor, listening.client() as anyone:
        await open_references(editor)
        await publish(editor)
        await asyncio.sleep(0.2)
        for _ in range(2):
            assert (await anyone.get(PATHS[0])).status_code == 200
        forged = await anyone.get(PATHS[0], headers={"Authorization": "Bearer forged"})
        assert (forged.status_code, forged.json()["code"]) == (401, "invalid_token")


@pytest.mark.parametrize(
    "path",
    [PATHS[0], "/v1/courses", "/v1/courses?limit=1", "/v1/courses?limit=x&limit=2&from=a%20letter", "/v1/courses?q="],
)
async def test_the_front_answers_as_the_route_does(listening, path) -> None:
    async with (
        listening.client("catalogue_editor") as editor,
        listening.client() as anyone,
        listening.client("learner") as learner,
    ):
        await open_references(editor)
        for count in range(3):
            await publish(editor, "causal-inference" if count == 0 else f"course-{count}")
        before, from_route = await anyone.get(path), await learner.get(path)  # a token takes the ordinary path
        listening.service.resources[ResponseCache].forget()
        from_database, from_memory = await anyone.get(path), await anyone.get(path)
        answers = [before, from_route, from_database, from_memory]
        assert {(one.status_code, one.content, one.headers["etag"]) for one in answers} == {
            (200, before.content, before.headers["etag"])
        }


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5", "1e2"])
async def test_a_limit_that_is_none_is_refused_by_the_route(listening, limit) -> None:
    async with listening.client() as anyone:
        refused = await anyone.get(f"/v1/courses?limit={limit}")
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_the_front_knows_everything_that_narrows_a_list(service) -> None:
    parameters = service.process.api.openapi()["paths"]["/v1/courses"]["get"]["parameters"]
    assert {one["name"] for one in parameters if one["in"] == "query"} == cached_reads.NARROWS | {"limit"}


async def test_what_the_front_cannot_answer_the_route_refuses(listening, monkeypatch) -> None:
    async with listening.client() as anyone:
        unknown = await anyone.get("/v1/courses/there-is-none")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
        away = AsyncMock(side_effect=OSError("the database is away"))
        for reader in (cached_reads, public):
            monkeypatch.setattr(reader, "find_page", away)
        refused = await anyone.get(PATHS[0])
        assert (refused.status_code, refused.json()["code"]) == (503, "temporarily_unavailable")
        assert refused.headers["x-request-id"]


async def test_nothing_is_kept_while_nobody_listens(editor, anyone, monkeypatch) -> None:
    reads = Reads(monkeypatch)
    await publish(editor)
    for _ in range(3):
        await anyone.get(PATHS[0])
    assert reads.count == 3
