"""The service as one process: it migrates, starts, consumes from the bus, answers over HTTP and stops."""

import asyncio

import httpx
from pydantic import SecretStr

from embedded import ports
from enrolment.app import build
from enrolment.settings import Settings
from shared.ids import new_id
from shared.messaging.inprocess import InProcessBus
from shared.messaging.message import envelope
from shared.messaging.relay import Envelope
from shared.migrate import migrate
from shared.process import Process


async def test_it_starts_consumes_answers_and_stops(make_database, new_driver):
    url = await make_database(f"app_{new_id().hex[-12:]}")
    settings = Settings(database_url=url, feed_secret=SecretStr("test"), host="127.0.0.1", port=ports.suggest(1))
    service = build(settings)
    await migrate(url, service.versions)
    await migrate(url, service.versions)
    bus = InProcessBus()
    process = Process(service, bus=bus)
    stop, started = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(process.run(stop, started=started))
    await asyncio.wait_for(started.wait(), 30)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}") as client:
            assert (await client.get("/health/ready")).status_code == 200
            assert (await client.get("/v1/declarations/current")).status_code == 200
            assert (await client.get("/v1/study-record")).status_code == 401
        async with process.database.transaction() as session:
            driver = new_driver(session)
            driver.service = process
            await driver.register()
            offered = await driver.offer()
        paid = driver.payment(offered)
        body = envelope(
            paid, id=new_id(), time=paid.confirmed_at, traceparent=None, request_id=None, causation=None
        ).encode()
        assert await bus.send([Envelope(id="1", type=paid.type, body=body, has_consumers=True)] * 2) == [None, None]
        async with process.database.transaction() as session:
            driver.session = session
            assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)
