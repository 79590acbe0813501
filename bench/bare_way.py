"""The way of `bench.posts` laid bare: raw ASGI, asyncpg and aio-pika, every part in a process of its own.

`python -m bench.bare_way <api|relay|consumer> <port> <database> <broker>`. A yardstick and no product: nobody is
admitted or refused, nothing is tried again, traced or logged.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.driver import connect_driver
from shared.ids import new_id
from shared.running import run_loop

QUEUE = "bare"
CHANNEL = "bare"
BATCH = 500
CONNECTIONS = 8
PADDING = "x" * 600  # an envelope of ours has about as much

Part = Callable[[str, str], Awaitable[ASGIApp]]


async def answer(send: Send, status: int, body: object) -> None:
    content = json.dumps(body).encode()
    headers = [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def api(database: str, _: str) -> ASGIApp:
    """Writes two rows in a transaction, and notifies after it, once for all within 2 ms."""
    idle: asyncio.LifoQueue[Any] = asyncio.LifoQueue()  # Any: asyncpg ships no types
    for _each in range(CONNECTIONS):
        idle.put_nowait(await connect_driver(database))
    committed, notifier = asyncio.Event(), await connect_driver(database)

    async def notify() -> None:
        while True:
            await committed.wait()
            committed.clear()
            await notifier.execute(f"notify {CHANNEL}")
            await asyncio.sleep(0.002)

    async def serve(_scope: Scope, _receive: Receive, send: Send) -> None:
        refund_id = new_id()
        body = json.dumps({"refund_id": str(refund_id), "padding": PADDING})
        connection = await idle.get()
        async with connection.transaction():
            await connection.execute("insert into refunds values ($1, $2, $3)", refund_id, new_id(), 49500)
            await connection.execute(
                "insert into outbox (id, type, partition_key, body) values ($1, $2, $3, $4)",
                new_id(),
                QUEUE,
                str(refund_id),
                body,
            )
        idle.put_nowait(connection)
        committed.set()
        await answer(send, 201, {"refund_id": str(refund_id)})

    BACKGROUND.append(asyncio.create_task(notify()))
    return serve


async def relay(database: str, broker: str) -> ASGIApp:
    """In batches, confirmed, woken by NOTIFY; the marks wait for no disk."""
    connection, woken = await connect_driver(database, synchronous_commit="off"), asyncio.Event()
    channel = await (await aio_pika.connect(broker)).channel()
    await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})

    def notified(*_: object) -> None:
        woken.set()

    async def publish(row: Any) -> None:  # Any: a record
        message = aio_pika.Message(row["body"].encode(), message_id=str(row["id"]), delivery_mode=2)
        await channel.default_exchange.publish(message, QUEUE)

    async def run() -> None:
        while True:
            async with connection.transaction():
                rows = await connection.fetch(
                    "select position, id, body from outbox where sent_at is null "
                    "order by position limit $1 for no key update skip locked",
                    BATCH,
                )
                await asyncio.gather(*map(publish, rows))
                marked = [row["position"] for row in rows]
                await connection.execute("update outbox set sent_at = now() where position = any($1::bigint[])", marked)
            if not rows:
                await woken.wait()
                woken.clear()

    await connection.add_listener(CHANNEL, notified)
    BACKGROUND.append(asyncio.create_task(run()))
    return nothing


async def consumer(database: str, broker: str) -> ASGIApp:
    """Whatever is there is taken in one transaction and acknowledged at once."""
    connection = await connect_driver(database)
    channel = await (await aio_pika.connect(broker)).channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=2 * BATCH)
    queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    arrived: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
    commits: dict[str, float] = {}

    async def run() -> None:
        while True:
            batch = [await arrived.get()]
            while not arrived.empty() and len(batch) < BATCH:
                batch.append(arrived.get_nowait())
            refunds = [json.loads(message.body)["refund_id"] for message in batch]
            ids = [message.message_id for message in batch]
            async with connection.transaction():
                await connection.execute(
                    "insert into inbox (source, id, type, body_sha256) select 'bare', id, 'bare', '' "
                    "from unnest($1::text[]::uuid[]) id on conflict do nothing",
                    ids,
                )
                await connection.execute(
                    "insert into effects select gen_random_uuid(), refund_id from unnest($1::text[]::uuid[]) refund_id",
                    refunds,
                )
            commits.update(dict.fromkeys(refunds, time.perf_counter()))
            await batch[-1].ack(multiple=True)

    async def serve(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answer(send, 200, commits)

    await queue.consume(arrived.put)
    BACKGROUND.append(asyncio.create_task(run()))
    return serve


async def nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
    await answer(send, 200, None)


BACKGROUND: list[asyncio.Task[None]] = []
PARTS: dict[str, Part] = {"api": api, "relay": relay, "consumer": consumer}


async def main(part: str, port: str, database: str, broker: str) -> None:
    app = await PARTS[part](database, broker)
    config = uvicorn.Config(app, host="127.0.0.1", port=int(port), lifespan="off", log_config=None, access_log=False)
    serving = asyncio.create_task(uvicorn.Server(config).serve())
    ended, _ = await asyncio.wait([serving, *BACKGROUND], return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()


if __name__ == "__main__":
    run_loop(main(*sys.argv[1:]))
