"""The fixtures that every service's tests share, a pytest plugin.

A service's conftest says in `build_service` what is tested; the conftest of the root says which database server.
"""

from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import new_id
from shared.testing.services import (
    BuildService,
    CopyDatabase,
    FrozenClock,
    KeptServices,
    MakeDatabase,
    ServiceUnderTest,
    Templates,
    under_test,
)


@pytest.fixture(scope="session")
def make_database() -> MakeDatabase:
    """Create an empty database; the root's conftest says how."""
    pytest.fail("no conftest says where databases are made")


@pytest.fixture(scope="session")
def copy_database() -> CopyDatabase:
    """Copy a database; the root's conftest says how."""
    pytest.fail("no conftest says how databases are copied")


@pytest.fixture(scope="session")
def build_service() -> BuildService:
    """Return what builds the service, given its database's URL; each service's conftest says how."""
    pytest.fail("no conftest says which service is tested here")


@pytest.fixture(scope="session")
async def kept_services(make_database: MakeDatabase) -> AsyncIterator[KeptServices]:
    """The services built so far, each with a database that is kept for all its tests."""
    async with KeptServices(make_database) as kept:
        yield kept


@pytest.fixture
async def service(build_service: BuildService, kept_services: KeptServices) -> ServiceUnderTest:
    """The service, on a database that is kept for all its tests: what a test writes there is rolled back by `session`.

    A problem code or media type that its OpenAPI document does not list fails the test.
    """
    return await kept_services.of(build_service)


@pytest.fixture
async def session(service: ServiceUnderTest) -> AsyncIterator[AsyncSession]:
    """A session in a transaction that is rolled back after the test; requests, handlers and jobs share it."""
    async with service.rolled_back() as session:
        yield session


@pytest.fixture
def clock(service: ServiceUnderTest) -> Iterator[FrozenClock]:
    """The service's clock, which stands still, at the same instant in each test."""
    began = service.clock.at
    yield service.clock
    service.clock.at = began  # tests that do not ask for the clock find it there too


@pytest.fixture(scope="session")
def templates(make_database: MakeDatabase, copy_database: CopyDatabase) -> Templates:
    """Migrated databases, of which those of `live` are copies."""
    return Templates(make_database, copy_database)


@pytest.fixture
async def live(build_service: BuildService, templates: Templates) -> AsyncIterator[ServiceUnderTest]:
    """The service on a database of the test's own, with real commits: for races."""
    made, name = partial(templates.copy, build_service), f"live_{new_id().hex[-12:]}"
    async with under_test(build_service, made, name, every_response_documented=True, is_migrated=True) as tested:
        yield tested
