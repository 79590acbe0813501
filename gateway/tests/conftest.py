from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from uvicorn.loops.auto import auto_loop_factory

from gateway.app import build
from shared.testing.services import BuildService, ServiceUnderTest

from .proxy_harness import gateway_settings
from .two_words import People


@pytest.fixture(scope="session")
def build_service() -> BuildService:
    return lambda url: build(gateway_settings(url))


def pytest_asyncio_loop_factories():
    """These tests run on the loop that `run_loop` gives the product: it reads several times in one turn."""
    return {"shipped": auto_loop_factory()}


def _renew(tested: ServiceUnderTest) -> None:
    """Tokens are verified by the real time, so the frozen clock stands there; keys of a test undone are forgotten."""
    tested.clock.at = datetime.now(UTC)
    tested.process.verifier.forget()


@pytest.fixture
def service(service: ServiceUnderTest) -> ServiceUnderTest:
    _renew(service)
    return service


@pytest.fixture
def live(live: ServiceUnderTest) -> ServiceUnderTest:
    _renew(live)
    return live


@pytest.fixture
async def people(service, session):
    """Two operators by the command line, and Ada."""

    @asynccontextmanager
    async def transaction():
        yield session
        await session.commit()

    async with service.client() as client:
        everybody = People(client, transaction)
        await everybody.roots("anna", "bert")
        await everybody.opens("ada")
        yield everybody
