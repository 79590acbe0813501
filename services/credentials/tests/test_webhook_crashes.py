"""Killed while it notifies partners: started again, it notifies each of everything, under the ids it used before."""

import asyncio
import multiprocessing
import signal
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from credentials import jobs as clockwork
from shared.ids import new_id
from shared.jobs import Work

from . import mortal_sender
from .announcements import consume, hold_credit, registered
from .deliveries import register, send
from .shares import P, Q, handed_over, know
from .webhook_receivers import partner_server

pytestmark = pytest.mark.slow

FORKSERVER = multiprocessing.get_context("forkserver")


async def die(live, crash: str) -> None:
    """Let webhooks be sent in a process that is killed there."""
    settings = live.service.settings
    given = {
        "database_url": settings.database_url,
        "public_url": settings.public_url,
        "wrapping_key": settings.wrapping_key.get_secret_value(),
        "now": live.clock().isoformat(),
    }
    process = FORKSERVER.Process(target=mortal_sender.begin, args=(given, crash), daemon=True)
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == -signal.SIGKILL


async def deliveries(live) -> list[tuple[str, int]]:
    async with live.process.database.transaction() as session:
        rows = await session.execute(text("select state, tries from webhook_deliveries order by delivery_id"))
        return [(row.state, row.tries) for row in rows]


def ids(partner) -> Counter[str]:
    return Counter(headers["webhook-id"] for headers, _ in partner.got)


@pytest.fixture
async def receiver(live):
    """Two withdrawn consents of which P, and one of which Q is to be notified; nothing is sent yet."""
    live.clock.at = datetime.now(UTC)  # a partner refuses old timestamps
    learner = new_id()
    async with live.process.database.transaction() as session:
        await consume(session, registered(learner))
        await hold_credit(session, learner, DS=2)
        await know(session, P, Q)
    async with partner_server() as first, partner_server() as second:
        secrets = [(await register(live, one.url, name))["secret"] for one, name in ((first, P), (second, Q))]
        for client_id in (P, P, Q):
            granted = await handed_over(live, learner, "DS01", client_id=client_id)
            async with live.client("learner", id=learner) as client:
                await client.post(f"/v1/shares/{granted['share_id']}/withdrawal")
        await clockwork.notify_partners(Work(live.process.database, live.service.resources))
        yield [(first, secrets[0], 2), (second, secrets[1], 1)]


@pytest.mark.parametrize(("crash", "already"), [("webhooks_taken", 0), ("webhooks_posted", 1)])
async def test_a_sender_killed_on_its_way_tells_everything_again(live, receiver, crash, already) -> None:
    """Posted before it was killed: posted once more, and the partner sees by the id that it is the same."""
    await die(live, crash)
    before = [ids(partner) for partner, _, _ in receiver]
    assert [len(seen) for seen in before] == [count * already for _, _, count in receiver]
    assert await deliveries(live) == [("pending", 1)] * 3
    await send(live)
    assert [ids(partner) for partner, _, _ in receiver] == before, "what it took is its own for a while"
    live.clock.advance(minutes=1)
    await send(live)
    for (partner, secret, count), seen in zip(receiver, before, strict=True):
        after = ids(partner)
        assert set(after.values()) == {1 + already}
        assert len(after) == count
        assert seen <= after
        assert [message["type"] for message in partner.messages(secret)] == ["consent.withdrawn"] * sum(after.values())
    assert await deliveries(live) == [("delivered", 2)] * 3
    live.clock.advance(hours=1)
    await send(live)
    assert [sum(ids(partner).values()) for partner, _, _ in receiver] == [
        count * (1 + already) for _, _, count in receiver
    ], "what was taken is not sent again"


async def test_killed_over_and_over_it_keeps_to_the_ids(live, receiver) -> None:
    for crash in ("webhooks_posted", "webhooks_taken", "webhooks_posted"):
        await die(live, crash)
        live.clock.advance(minutes=1)
    await send(live)
    for partner, _, count in receiver:
        assert sorted(ids(partner).values()) == [3] * count
    assert await deliveries(live) == [("delivered", 4)] * 3
