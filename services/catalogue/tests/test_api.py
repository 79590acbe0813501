from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue.api.shapes import CoursePage, CourseView
from shared.testing import ServiceUnderTest, published

from .writing import open_references, publish


@pytest.fixture
async def editor(service: ServiceUnderTest, session: AsyncSession) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client("catalogue_editor") as client:
        await open_references(client)
        yield client


async def test_a_published_course_is_found_and_read(service, session, editor) -> None:
    made = await publish(editor)
    async with service.client() as anyone:
        listed = await anyone.get("/v1/courses", params={"q": "causal"})
        page = await anyone.get("/v1/courses/causal-inference")
    assert listed.status_code == 200, listed.text
    print(listed.text, page.text)
    assert [c.title for c in CoursePage.model_validate_json(listed.content).items] == ["Causal Inference"]
    assert str(CourseView.model_validate_json(page.content).course_version_id) == made["course_version_id"]
    print([type(e).__name__ for e in await published(session)])
