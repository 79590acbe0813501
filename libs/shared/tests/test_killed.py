"""Delivery while our own processes die: killed -9 at every point where it could matter."""

import asyncio
import signal

import httpx
import pytest

from shared.ids import new_id
from shared.messaging import publish
from shared.testing.services import Issuer

from . import delivery
from .delivery import refund_of
from .messaging_nodes import eventually, forget_topology
from .processes import ServiceProcesses

pytestmark = [pytest.mark.slow, pytest.mark.broker]


@pytest.fixture(params=["inprocess", "rabbitmq"])
async def processes(request, nodes, broker, tmp_path):
    if request.param == "rabbitmq":
        await forget_topology(broker.url)
    databases = {name: nodes[name].url for name in ("payments", "enrolment")}
    made = ServiceProcesses(tmp_path, databases, broker.url if request.param == "rabbitmq" else None, Issuer())
    yield made
    made.close()


async def ask_for_refund(processes, key="key-1", learner=None, reason_code="cooling_off", path="/v1/refunds"):
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(
            f"http://127.0.0.1:{processes.port}{path}",
            json={"amount_minor": 49500, "reason_code": reason_code},
            headers={
                "Authorization": f"Bearer {processes.issuer.token('learner', id=learner or new_id())}",
                "Idempotency-Key": key,
            },
        )


async def one_effect_each(nodes, requests):
    async def so():
        return await nodes["enrolment"].effects() >= requests

    await eventually(so, 60)

    async def sent():
        return not await nodes["payments"].one("select count(*) from outbox where sent_at is null")

    await eventually(sent)
    assert await nodes["enrolment"].effects() == requests
    assert await nodes["enrolment"].one("select count(distinct about) from effects") == requests
    assert await nodes["enrolment"].one("select count(*) from inbox") == requests
    assert await nodes["payments"].one("select count(*) from outbox") == requests
    assert await nodes["payments"].one("select count(*) from refunds") == requests
    assert await nodes["enrolment"].dead_letters() == []


@pytest.mark.parametrize(
    "point",
    ["relay_handed", "relay_published", "relay_confirmed", "inbox_received", "inbox_handled", "inbox_committed"],
)
async def test_a_process_killed_on_the_events_way(processes, nodes, point):
    if processes.amqp_url is None and point == "inbox_received":
        point = "inbox_handled:2"  # nothing is received in process; another place instead
    consumer = point.startswith("inbox") and processes.amqp_url is not None
    victim = "enrolment" if consumer else "payments"
    if processes.amqp_url:
        await processes.start("enrolment", point if consumer else "")
    await processes.start("payments", "" if consumer else point)
    await processes.ready("payments")
    assert (await ask_for_refund(processes, "key-1")).status_code == 201
    if point.endswith(":2"):
        assert (await ask_for_refund(processes, "key-2")).status_code == 201
    await processes.killed(victim)
    await processes.start(victim)
    await processes.ready("payments")
    assert (await ask_for_refund(processes, "key-3")).status_code == 201
    await one_effect_each(nodes, 3 if point.endswith(":2") else 2)


@pytest.mark.parametrize("point", ["relay_claimed", "relay_published", "relay_confirmed"])
async def test_a_process_killed_with_what_it_found(processes, nodes, point):
    """Left over from before it started, so that nobody handed it over."""
    left = refund_of()
    async with nodes["payments"].database.transaction() as session:
        session.add(
            delivery.Refund(refund_id=left.refund_id, learner_id=left.learner_id, amount_minor=left.amount_minor)
        )
        publish(session, left)
    if processes.amqp_url:
        await processes.start("enrolment")
    await processes.start("payments", point)
    await processes.killed("payments")
    await processes.start("payments")
    await processes.ready("payments")
    await one_effect_each(nodes, 1)


@pytest.mark.parametrize(
    ("point", "committed", "path"),
    [
        ("request_handled", 0, "/v1/refunds"),
        ("request_committed", 1, "/v1/refunds"),
        ("request_committed", 1, "/v1/fast-refunds"),
    ],
)
async def test_a_process_killed_before_its_reply_answers_the_repeat(processes, nodes, point, committed, path):
    learner = new_id()
    if processes.amqp_url:
        await processes.start("enrolment")
    # The second request handled: readiness, asked for first, is no operation and passes neither place.
    await processes.start("payments", point)
    await processes.ready("payments")
    with pytest.raises(httpx.TransportError):
        await ask_for_refund(processes, learner=learner, path=path)
    await processes.killed("payments")
    assert await nodes["payments"].one("select count(*) from refunds") == committed
    await processes.start("payments")
    await processes.ready("payments")
    first = await ask_for_refund(processes, learner=learner, path=path)
    second = await ask_for_refund(processes, learner=learner, path=path)
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert ("idempotency-replayed" in first.headers) == bool(committed)
    assert first.json()["refund_id"] == str(await nodes["payments"].one("select refund_id from refunds"))
    await one_effect_each(nodes, 1)


@pytest.mark.parametrize("path", ["/v1/refunds", "/v1/fast-refunds"])
async def test_a_producer_killed_at_any_moment_loses_nothing(processes, nodes, path):
    """Four times, in the middle of requests: every 201 that arrived is there afterwards, with one effect."""
    answered = []
    if processes.amqp_url:
        await processes.start("enrolment")
    for round_ in range(4):
        await processes.start("payments")
        await processes.ready("payments")

        async def ask(key):
            try:
                answer = await ask_for_refund(processes, key, path=path)
            except httpx.TransportError:
                return
            if answer.status_code == 201:
                answered.append(answer.json()["refund_id"])

        asking = [asyncio.create_task(ask(f"key-{round_}-{n}")) for n in range(30)]
        await asyncio.sleep(0.1 + 0.1 * round_)
        processes.kill("payments")
        await asyncio.gather(*asking)
        await processes.killed("payments")
    await processes.start("payments")
    await processes.ready("payments")
    kept = {str(row[0]) for row in await nodes["payments"].all("select refund_id from refunds")}
    assert set(answered) <= kept
    await one_effect_each(nodes, len(kept))


async def test_a_message_that_kills_its_consumer_ends_dead_lettered_and_its_neighbours_are_handled(
    nodes, broker, tmp_path
):
    await forget_topology(broker.url)
    databases = {name: nodes[name].url for name in ("payments", "enrolment")}
    processes = ServiceProcesses(tmp_path, databases, broker.url, Issuer(), reconcile=True)
    try:
        await processes.start("payments")
        await processes.ready("payments")
        for key, reason in (("1", "cooling_off"), ("2", "kill"), ("3", "cooling_off")):
            assert (await ask_for_refund(processes, key, reason_code=reason)).status_code == 201
        deaths = 0
        process = await processes.start("enrolment")

        async def dead_letters():
            nonlocal deaths, process
            if not process.is_alive():
                assert process.exitcode == -signal.SIGKILL, processes.log("enrolment")
                deaths += 1
                process = await processes.start("enrolment")
            return bool(await nodes["enrolment"].dead_letters())

        await eventually(dead_letters, 240)
        assert deaths >= 2
        assert await nodes["enrolment"].dead_letters() == ["handler_failed"]
        if not process.is_alive():
            process = await processes.start("enrolment")

        async def neighbours():
            return await nodes["enrolment"].effects() == 2

        await eventually(neighbours, 30)
        assert (await ask_for_refund(processes, "4")).status_code == 201

        async def goes_on():
            return await nodes["enrolment"].effects() == 3

        await eventually(goes_on, 30)
        assert process.is_alive(), "it goes on dying"
    finally:
        processes.close()
