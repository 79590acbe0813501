import sys
from pathlib import Path

import pytest

from shared.migrate import migrate

sys.path.append(str(Path(__file__).parent))

import delivery
from stations import Station, World, forget_topology


@pytest.fixture(scope="session")
async def databases(make_database):
    """The addresses of three migrated databases, one a service."""
    urls = {name: await make_database(f"delivery_{name}") for name in delivery.INBOXES}
    for url in urls.values():
        await migrate(url, delivery.VERSIONS)
    return urls


@pytest.fixture
async def stations(databases):
    """payments, enrolment and credentials in parts, on empty tables."""
    made = {name: Station(name, url) for name, url in databases.items()}
    for station in made.values():
        await station.empty()
    delivery.mended.clear()
    yield made
    for station in made.values():
        await station.database.dispose()


@pytest.fixture
def enrolment(stations):
    return stations["enrolment"]


@pytest.fixture(params=["inprocess", pytest.param("rabbitmq", marks=pytest.mark.broker)])
def bus(request):
    return request.param


@pytest.fixture
def broker_url(bus, request):
    """The broker's address; none where events travel in process."""
    return request.getfixturevalue("amqp_url") if bus == "rabbitmq" else None


@pytest.fixture
async def world(broker_url, stations):
    """The three services joined by the in-process bus and by RabbitMQ in turn."""
    if broker_url:
        await forget_topology(broker_url)
    made = World(stations, broker_url)
    try:
        yield made
    finally:
        await made.close()
