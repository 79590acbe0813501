import dataclasses

import pytest

from embedded.rabbitmq import RabbitMQ
from shared.access import TokenVerifier
from shared.migrate import migrate
from shared.process import Process
from shared.testing.services import AUDIENCE, ISSUER, Issuer

from . import delivery, object_stores, refunds_api, relays, stores
from .messaging_nodes import JoinedNodes, ServiceNode, forget_topology
from .processes import service_of

s3, storage, response_cache = object_stores.s3, object_stores.storage, stores.response_cache
parts, handed = relays.parts, relays.handed


@pytest.fixture(scope="session")
async def databases(make_database):
    """The addresses of three migrated databases, one a service."""
    urls = {name: await make_database(f"delivery_{name}") for name in delivery.INBOXES}
    for url in urls.values():
        await migrate(url, delivery.VERSIONS)
    return urls


@pytest.fixture
async def nodes(databases):
    """payments, enrolment and credentials in parts, on empty tables."""
    made = {name: ServiceNode(name, url) for name, url in databases.items()}
    for node in made.values():
        await node.empty()
    delivery.mended.clear()
    yield made
    for node in made.values():
        await node.database.dispose()


@pytest.fixture
def payments(nodes):
    return nodes["payments"]


@pytest.fixture
def enrolment(nodes):
    return nodes["enrolment"]


@pytest.fixture(params=["inprocess", pytest.param("rabbitmq", marks=pytest.mark.broker)])
def bus(request):
    return request.param


@pytest.fixture
def broker_url(bus, request):
    """The broker's address; none where events travel in process."""
    return request.getfixturevalue("amqp_url") if bus == "rabbitmq" else None


@pytest.fixture
async def joined(broker_url, nodes):
    """The three services joined by the in-process bus and by RabbitMQ, one after the other."""
    if broker_url:
        await forget_topology(broker_url)
    made = JoinedNodes(nodes, broker_url)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture(scope="module")
async def broker(tmp_path_factory):
    """A broker that a test may stop, freeze and kill."""
    async with RabbitMQ(tmp_path_factory.mktemp("faults") / "rabbitmq") as running:
        yield running


@pytest.fixture
def way(request, monkeypatch):
    """How a refund is asked for: through the session, or in one statement before it."""
    monkeypatch.setitem(refunds_api.PATHS, "asked", refunds_api.PATHS[request.param])
    return request.param


class ProcessWithIssuer(Process):
    issuer: Issuer
    """Signs the tokens that it takes."""


@pytest.fixture
async def api(payments, tmp_path):
    """payments of the delivery suite behind its HTTP door, with few connections."""
    issuer = Issuer()
    service = service_of(
        "payments",
        payments.url,
        verifier=TokenVerifier(ISSUER, AUDIENCE, issuer.keys),
        mail_folder=str(tmp_path),
        pool_size=4,
        pool_timeout_seconds=0.3,
    )
    service = dataclasses.replace(
        service, routers=[*service.routers, refunds_api.router], access={**delivery.ACCESS, **refunds_api.OPEN}
    )
    process = ProcessWithIssuer(service)
    process.issuer = issuer
    yield process
    await process.http.aclose()
    await process.database.dispose()
