from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue.app import build
from catalogue.settings import Settings
from shared.testing.services import BuildService, ServiceUnderTest

from .writing import open_references


@pytest.fixture(scope="session")
def build_service() -> BuildService:
    return lambda url: build(Settings(database_url=url, feed_secret=SecretStr("test")))


@pytest.fixture
async def editor(service: ServiceUnderTest, session: AsyncSession) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client("catalogue_editor") as client:
        await open_references(client)
        yield client


@pytest.fixture
async def anyone(service: ServiceUnderTest, session: AsyncSession) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client
