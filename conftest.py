"""What every test of the project may ask for: a real PostgreSQL and a real RabbitMQ, started once for the run."""

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import gateway  # noqa: F401 - else pytest takes the folder of that name for the package
from embedded.postgres import Postgres
from embedded.rabbitmq import RabbitMQ


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="mc-tests-") as folder:
        # The tests kill and freeze it themselves where durability is the question; elsewhere fsync only costs time.
        async with Postgres(Path(folder) / "postgres", {"fsync": "off", "max_connections": 300}) as server:
            yield server


@pytest.fixture(scope="session")
def make_database(postgres: Postgres) -> Callable[[str], Awaitable[str]]:
    async def make(name: str) -> str:
        await postgres.create_role_and_database(name)
        return postgres.url(name, name)

    return make


@pytest.fixture(scope="session")
async def amqp_url() -> AsyncIterator[str]:
    """The broker given by AMQP_URL, else one of our own; a test that needs it fails, and says why, without either."""
    given = os.environ.get("AMQP_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="mc-tests-") as folder:
        async with RabbitMQ(Path(folder) / "rabbitmq") as broker:
            yield broker.url
