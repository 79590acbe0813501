"""From a POST to the commit at whoever hears of it: two services in processes of their own, and a broker between.

`python -m bench.posts` is either of them.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import httpx
from fastapi import Response
from pydantic import Field
from sqlalchemy import event as orm_event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session as OrmSession

from bench.measuring import Bench, Limit, Result, percentile
from bench.programs import running
from bench.store import KEEP, ask_for_refund_hot, make_store, refund, row_of
from embedded import ports
from embedded.postgres import Postgres
from embedded.rabbitmq import RabbitMQ as Broker
from shared.access import anyone
from shared.cli import main
from shared.events.payments import RefundRequested
from shared.ids import new_id
from shared.messaging import Inbox, publish
from shared.service import Service
from shared.settings import ServiceSettings
from shared.web import HotCall, Router, Session, View

PER_SECOND = 200
CONNECTIONS = 16
_KEPT = "kept"  # in session.info
_REQUEST = b"POST /v1/refunds HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"


class RefundView(View):
    refund_id: str


class Settings(ServiceSettings):
    name: Literal["payments", "enrolment"] = Field(description="Who takes the POST, or who hears of it")
    versions: Path = Field(description="Where the (empty) migrations of the store are")


router = Router()
inbox = Inbox("enrolment")
committed: dict[str, float] = {}
"""When what the consumer did about each refund was committed. Of the clock that all processes of a machine share."""


@router.post("/v1/refunds", operation_id="request_refund", status_code=201)
async def request_refund(session: Session) -> RefundView:
    requested = refund()
    session.add(row_of(requested))
    publish(session, requested)
    return RefundView(refund_id=str(requested.refund_id))


@router.hot("request_refund")
async def request_refund_hot(call: HotCall) -> Response:
    requested = await ask_for_refund_hot(call.database)
    return Response(RefundView(refund_id=str(requested.refund_id)).model_dump_json(), 201)


@router.get("/v1/commits", operation_id="list_commits")
async def list_commits() -> dict[str, float]:
    return committed


@inbox.on(RefundRequested)
async def end_access(session: AsyncSession, requested: RefundRequested) -> None:
    await KEEP.within(session, effect_id=new_id(), refund_id=requested.refund_id)
    session.info.setdefault(_KEPT, []).append(str(requested.refund_id))


@orm_event.listens_for(OrmSession, "after_commit")
def note(session: OrmSession) -> None:
    at = time.perf_counter()
    committed.update(dict.fromkeys(session.info.get(_KEPT, ()), at))


def build(settings: Settings) -> Service:
    return Service(
        name=settings.name,
        title="Refunds",
        description="The smallest services that write and announce, and hear and write.",
        settings=settings,
        versions=settings.versions,
        routers=[router],
        access={"request_refund": anyone(), "list_commits": anyone()},
        inbox=inbox if settings.name == inbox.service else Inbox(settings.name),
    )


async def measure(bench: Bench) -> list[Result]:
    first = ports.suggest(2)
    at = {"payments": first, "enrolment": first + 1}
    async with (
        Postgres(bench.folder / "postgres") as server,
        Broker(bench.folder / "rabbitmq") as broker,
        AsyncExitStack() as services,
        httpx.AsyncClient(timeout=60) as client,
    ):
        for name, port in at.items():
            await (await make_store(server, bench.folder, name)).dispose()
            environment = {
                "MC_NAME": name,
                "MC_DATABASE_URL": server.url(name, name),
                "MC_AMQP_URL": broker.url,
                "MC_FEED_SECRET": "bench",
                "MC_HOST": "127.0.0.1",
                "MC_PORT": str(port),
                "MC_VERSIONS": str(bench.folder / "versions"),
                "MC_MAIL_FOLDER": str(bench.folder / "mail"),
            }
            command = [sys.executable, "-m", "bench.posts"]
            # On no core of their own: there are more processes than cores, as on any machine this small.
            await services.enter_async_context(running(command, None, bench.folder / f"{name}.log", port, environment))

        async def heard(posted: AbstractSet[str]) -> dict[str, float]:
            async with asyncio.timeout(60):
                while True:
                    commits: dict[str, float] = (
                        await client.get(f"http://127.0.0.1:{at['enrolment']}/v1/commits")
                    ).json()
                    if posted <= commits.keys():
                        return commits
                    await asyncio.sleep(0.2)

        warm = await _post(at["payments"], PER_SECOND)
        await heard(warm.keys())
        count = PER_SECOND * (3 if bench.short else 10)
        rounds: list[tuple[float, float, float]] = []
        for _ in range(bench.rounds):
            posted = await _post(at["payments"], count)
            commits = await heard(posted.keys())
            way = [commits[refund_id] - began for refund_id, (began, _) in posted.items()]
            replies = [ended - began for began, ended in posted.values()]
            rounds.append((percentile(way, 0.5), percentile(way, 0.99), percentile(replies, 0.5)))
    p50, p99, reply = (statistics.median(figures) for figures in zip(*rounds, strict=True))
    name, detail = f"POST to consumer's commit, {PER_SECOND}/s", f"{bench.rounds} x {count} requests"
    return [
        Result(name, "p50 ms", p50 * 1000, Limit(8, 5, 4, at_most=True), detail),
        Result(name, "p50, of POST p50", p50 / reply, Limit(4, 3, 2.7, at_most=True), f"POST {reply * 1000:.1f} ms"),
        Result(name, "p99 ms", p99 * 1000, Limit(20, 10, 8, at_most=True), detail),
    ]


async def _post(port: int, count: int) -> dict[str, tuple[float, float]]:
    """At the fixed rate, whether or not the answers keep up: refund -> when it was due, when it was answered."""
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    answered: dict[str, tuple[float, float]] = {}

    async def post(due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        reader, writer = await idle.get()
        writer.write(_REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(maxsplit=1)[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 201"):
            raise RuntimeError(body.decode())
        answered[json.loads(body)["refund_id"]] = (due, time.perf_counter())
        idle.put_nowait((reader, writer))

    began = time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(post(began + number / PER_SECOND))
    while not idle.empty():
        idle.get_nowait()[1].close()
    return answered


if __name__ == "__main__":
    main(Settings, build)
