import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.app import build
from gateway.settings import Settings
from shared.ids import new_id
from shared.testing import service_fixtures, under_test

sys.path.insert(0, str(Path(__file__).parent))  # for frontdoor.py: pytest's importlib mode leaves the path alone

SERVICES = ("assessment", "catalogue", "credentials", "enrolment", "payments")


def settings(url: str, **more) -> Settings:
    return Settings(
        database_url=url,
        feed_secret=SecretStr("test"),
        wrapping_key=SecretStr("a wrapping key for the tests only"),
        services=dict.fromkeys(SERVICES, "http://127.0.0.1:1"),
        rates={"anonymous": (100_000, 1), "person": (100_000, 1), "credentials": (100_000, 1)},
        **more,
    )


globals().update(service_fixtures(lambda url: build(settings(url))))


def _renew(tested) -> None:
    """Tokens are verified by the real time, so the standing clock stands there; keys of a test undone are forgotten."""
    tested.clock.at = datetime.now(UTC)
    verifier = tested.process.verifier
    verifier._keys, verifier._fetched = {}, float("-inf")
    verifier._verified.clear()


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
    async with under_test(lambda url: build(settings(url)), make_database, f"live_{new_id().hex[-12:]}") as tested:
        _renew(tested)
        yield tested
