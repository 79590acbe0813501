"""Delivery and answers while a database is killed, started again, or says goodbye."""

import asyncio

import httpx
import pytest

from embedded import ports
from embedded.postgres import Postgres
from shared.access import TokenVerifier
from shared.migrate import migrate
from shared.outages import is_database_down
from shared.process import Process
from shared.testing.services import AUDIENCE, ISSUER, Issuer

from . import delivery
from .delivery import refund_of
from .messaging_nodes import JoinedNodes, ServiceNode, all_had_their_effect, forget_topology
from .processes import running, service_of

pytestmark = [pytest.mark.slow, pytest.mark.broker]


@pytest.mark.parametrize("bus", ["inprocess", "rabbitmq"])
async def test_a_consumers_database_that_was_killed(bus, nodes, broker, tmp_path):
    server = Postgres(tmp_path / "postgres")
    async with server:
        url = await server.create_role_and_database("enrolment")
        await migrate(url, delivery.VERSIONS)
        consumer = ServiceNode("enrolment", url)
        if bus == "rabbitmq":
            await forget_topology(broker.url)
        joined = JoinedNodes({**nodes, "enrolment": consumer}, broker.url if bus == "rabbitmq" else None)
        try:
            await joined.consume()
            joined.relay()
            joined.retry(consumer)
            events = [refund_of() for _ in range(60)]
            await joined.payments.announce(*events[:20])
            await all_had_their_effect(consumer, events[:20])
            await joined.payments.announce(*events[20:40])
            await server.kill()
            await joined.payments.announce(*events[40:])
            await asyncio.sleep(1)
            await server.start()
            await all_had_their_effect(consumer, events)
            await joined.all_sent()
        finally:
            await joined.close()
            await consumer.database.dispose()


async def test_a_service_whose_database_was_restarted_answers_the_first_request(broker, tmp_path):
    """Connections of before lie dead in the pool; nobody is to meet one."""
    async with Postgres(tmp_path / "postgres") as server:
        url = await server.create_role_and_database("payments")
        await migrate(url, delivery.VERSIONS)
        issuer = Issuer()
        process = Process(
            service_of(
                "payments",
                url,
                port=ports.suggest(1),
                verifier=TokenVerifier(ISSUER, AUDIENCE, issuer.keys),
                amqp_url=broker.url,
                mail_folder=str(tmp_path / "mail"),
            )
        )
        base = f"http://127.0.0.1:{process.service.settings.port}"
        headers = {"Authorization": f"Bearer {issuer.token('finance')}"}
        async with running(process), httpx.AsyncClient(base_url=base, headers=headers) as client:
            assert (await client.get("/v1/refunds")).status_code == 200
            await server.kill()
            away = await client.get("/v1/refunds")
            assert (away.status_code, away.json()["code"]) == (503, "temporarily_unavailable")
            assert away.headers["retry-after"]
            assert (await client.get("/health/ready")).status_code == 503
            assert (await client.get("/health/live")).status_code == 200
            await server.start()
            answers = await asyncio.gather(*(client.get("/v1/refunds") for _ in range(5)))
            assert [answer.status_code for answer in answers] == [200] * 5
            assert (await client.get("/health/ready")).status_code == 200


async def test_a_server_that_says_goodbye_is_known_to_be_away(nodes):
    database, met = nodes["enrolment"].database, []
    for _ in range(15):
        assert await database.finds("select 1")
        async with database.driver() as driver:  # of the other pool
            await driver.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        for _ in range(3):  # at whatever point of its farewell the connection is
            met += await asyncio.gather(database.finds("select 1"), return_exceptions=True)
    errors = [one for one in met if isinstance(one, BaseException)]
    assert errors
    assert [error for error in errors if not is_database_down(error)] == []
