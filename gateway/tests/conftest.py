import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from uvicorn.loops.auto import auto_loop_factory

from gateway.app import build
from shared.ids import new_id
from shared.testing import service_fixtures, under_test

sys.path.insert(0, str(Path(__file__).parent))  # for frontdoor.py: pytest's importlib mode leaves the path alone

from proxy_harness import gateway_settings
from two_words import People

globals().update(service_fixtures(lambda url: build(gateway_settings(url)), every_response_documented=True))


def pytest_asyncio_loop_factories():
    """These tests run on the loop that `run_loop` gives the product: it reads several times in one turn."""
    return {"shipped": auto_loop_factory()}


def _renew(tested) -> None:
    """Tokens are verified by the real time, so the standing clock stands there; keys of a test undone are forgotten."""
    tested.clock.at = datetime.now(UTC)
    tested.process.verifier.forget()


@pytest.fixture
async def session(service):
    _renew(service)
    async with service.rolled_back() as session:
        yield session


@pytest.fixture
def clock(service):
    return service.clock


@pytest.fixture
async def live(make_database):
    async with under_test(
        lambda url: build(gateway_settings(url)),
        make_database,
        f"live_{new_id().hex[-12:]}",
        every_response_documented=True,
    ) as tested:
        _renew(tested)
        yield tested


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
