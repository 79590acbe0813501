"""Loads the sample catalogue through the public staff API, as any editor would. It may be run again at any time."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx

JSON = dict[str, Any]  # Any: JSON

PATIENCE_SECONDS: Final = 60.0
"""How long a request is repeated while the platform asks for it, and how long a course may take to reach assessment."""


class SeedRefused(RuntimeError):
    """The platform did not take what the sample catalogue holds."""


@dataclass(slots=True)
class Loaded:
    """What one run did: courses published, courses found present, briefs written."""

    published: int = 0
    present: int = 0
    briefs: int = 0


async def load_catalogue(editor: httpx.AsyncClient, examiner: httpx.AsyncClient, content: Path) -> Loaded:
    """Create what is missing of the institutions, subjects and courses in `content`, and the courses' briefs.

    Both clients call the gateway, signed in as a catalogue editor and as an examiner. What has a slug already is left
    as it is; a run that was broken off is taken up where it ended. Raises SeedRefused.
    """
    for kind in ("institutions", "subjects"):
        known = {item["slug"] for item in await _all(editor, f"/v1/{kind}")}
        for item in _read(content / f"{kind}.json"):
            if item["slug"] not in known:
                await _create(editor, f"/v1/{kind}", item)
    loaded = Loaded()
    briefs: dict[str, JSON] = {}
    for file in sorted((content / "courses").glob("*.json")):
        course = _read(file)
        brief = course.pop("brief")
        version_id, is_new = await _publish(editor, course)
        briefs[version_id] = brief
        loaded.published += is_new
        loaded.present += not is_new
    for version_id, brief in briefs.items():  # by now the events that assessment waits for are on their way
        loaded.briefs += await _write_brief(examiner, version_id, brief)
    return loaded


async def _publish(client: httpx.AsyncClient, course: JSON) -> tuple[str, bool]:
    """Publish the course unless it is on sale. Returns the id of the version on sale, and whether it is new."""
    slug = course["slug"]
    there = await _send(client, "GET", f"/v1/courses/{slug}", {200, 404})
    if there.status_code == HTTPStatus.OK:
        return there.json()["course_version_id"], False
    course_id = (await _create(client, "/v1/courses", course))["course_id"]
    path = f"/v1/courses/{course_id}/publication"
    answer = await _send(client, "POST", path, {200}, key=f"seed/{slug}/publication/{course_id}")
    return answer.json()["course_version_id"], True


async def _create(client: httpx.AsyncClient, path: str, content: JSON) -> JSON:
    """Create an item. Returns it, or the problem document that names what has its slug already."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    key = f"seed/{content['slug']}/{digest[:16]}"  # a mended file is another request, not a repeat
    answer = await _send(client, "POST", path, {201, 409}, key=key, content=content)
    created = answer.json()
    if answer.status_code == HTTPStatus.CONFLICT and created["code"] != "slug_taken":
        raise SeedRefused(_explained(answer))
    return created


async def _write_brief(client: httpx.AsyncClient, version_id: str, brief: JSON) -> bool:
    """Write the brief of a course version. Returns whether it is new.

    Assessment learns of a course by an event, so it may not know it yet.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        answer = await _send(client, "PUT", f"/v1/briefs/{version_id}", {200, 201, 404}, content=brief)
        if answer.status_code != HTTPStatus.NOT_FOUND:
            return answer.status_code == HTTPStatus.CREATED
        if asyncio.get_running_loop().time() > deadline:
            raise SeedRefused(
                f"assessment does not know the course after {PATIENCE_SECONDS:.0f} s: {_explained(answer)}"
            )
        await asyncio.sleep(0.2)


async def _all(client: httpx.AsyncClient, path: str) -> list[JSON]:
    items: list[JSON] = []
    query: dict[str, str] = {"limit": "100"}
    while True:
        page = (await _send(client, "GET", path, {200}, query=query)).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        query["cursor"] = page["next_cursor"]


async def _send(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    expected: set[int],
    *,
    key: str | None = None,
    content: JSON | None = None,
    query: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Send a request, again while the platform asks for it by Retry-After; raises SeedRefused on any other answer."""
    headers = {} if key is None else {"Idempotency-Key": key}
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        answer = await client.request(method, path, headers=headers, json=content, params=query)
        if answer.status_code in expected:
            return answer
        later = answer.headers.get("retry-after", "")
        if not later.isdecimal() or asyncio.get_running_loop().time() + int(later) > deadline:
            raise SeedRefused(_explained(answer))
        await asyncio.sleep(int(later))


def _explained(answer: httpx.Response) -> str:
    return f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text[:500]}"


def _read(file: Path) -> Any:  # Any: JSON
    return json.loads(file.read_text(encoding="utf-8"))
