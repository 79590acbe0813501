"""From a POST to the commit at whoever consumes it: two services in processes of their own, and a broker between.

Beside them, in turn, the same way laid bare (`bench.bare_way`). `python -m bench.posts` is either service.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import httpx
from fastapi import FastAPI, Response
from pydantic import Field
from starlette.types import ASGIApp

from bench.measuring import Bench, Limit, Result, percentile
from bench.programs import running
from bench.store import Effect, ask_for_refund_fast, make_store, refund, row_of
from embedded import ports
from embedded.postgres import Postgres
from embedded.rabbitmq import RabbitMQ as Broker
from shared.access import anyone
from shared.cli import main
from shared.events.payments import RefundRequested
from shared.ids import new_id
from shared.messaging import Inbox, publish
from shared.messaging.receiver import Receiver
from shared.process import Process
from shared.service import Service
from shared.settings import ServiceSettings
from shared.web import Call, Router, Session, View

PER_SECOND = 200
CONNECTIONS = 16
_REQUEST = b"POST /v1/refunds HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"


class RefundView(View):
    refund_id: str


class Settings(ServiceSettings):
    name: Literal["payments", "enrolment"] = Field(description="Who takes the POST, or who consumes it")
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


@router.fast_path("request_refund")
async def request_refund_fast(call: Call) -> Response:
    requested = await ask_for_refund_fast(call.database)
    return Response(RefundView(refund_id=str(requested.refund_id)).model_dump_json(), 201)


@router.get("/v1/commits", operation_id="list_commits")
async def list_commits() -> dict[str, float]:
    return committed


@inbox.project(Effect, RefundRequested)
def end_access(requested: RefundRequested, _: datetime) -> Effect:
    return Effect(effect_id=new_id(), refund_id=requested.refund_id)


class Noting(Receiver):
    """Notes when what it was handed is committed."""

    async def take(self, bodies: Sequence[bytes]) -> None:
        await super().take(bodies)
        at = time.perf_counter()
        committed.update((json.loads(body)["data"]["refund_id"], at) for body in bodies)


def note_commits(process: Process, api: FastAPI) -> ASGIApp:
    process.receiver = Noting(inbox, process.database)
    return api


def build(settings: Settings) -> Service:
    return Service(
        name=settings.name,
        title="Refunds",
        description="The smallest services that write and announce, and consume and write.",
        settings=settings,
        versions=settings.versions,
        routers=[router],
        access={"request_refund": anyone(), "list_commits": anyone()},
        inbox=inbox if settings.name == inbox.service else Inbox(settings.name),
        wrap=note_commits if settings.name == inbox.service else None,
    )


async def measure(bench: Bench) -> list[Result]:
    async with (
        Postgres(bench.folder / "postgres") as server,
        Broker(bench.folder / "rabbitmq") as broker,
        AsyncExitStack() as programs,
    ):
        ways = {
            "ours": await _start_ours(bench, programs, server, broker),
            "bare": await _start_bare(bench, programs, server, broker),
        }
        for way in ways.values():
            await _travel(way, PER_SECOND)  # to be warm
        count = bench.size(5 * PER_SECOND)
        rounds = [
            {name: await _travel(way, count) for name, way in _in_turn(ways, number)}
            for number in range(4 * bench.rounds)
        ]
    ours, bare = (_middle([one[name] for one in rounds]) for name in ("ours", "bare"))
    # Whoever else is on this machine holds up both ways; the yardstick alone says when.
    quiet = sorted(rounds, key=lambda one: one["bare"].p99)[: bench.rounds]
    quietly, yardstick = (_middle([one[name] for one in quiet]) for name in ("ours", "bare"))
    name = f"POST to consumer's commit, {PER_SECOND}/s"
    detail = f"in the {len(quiet)} quietest of {len(rounds)} x {count}; bare {_ms(yardstick.p50)}, {_ms(yardstick.p99)}"
    return [
        Result(name, "p50 ms", quietly.p50 * 1000, Limit(8, 5, 4, at_most=True), detail),
        Result(name, "p99 ms", quietly.p99 * 1000, Limit(20, 10, 8, at_most=True), detail),
        Result(
            name,
            "p50, of POST p50",
            ours.p50 / ours.post,
            Limit(4, 3, 2.7, at_most=True),
            f"POST {_ms(ours.post)}",
        ),
        # What the milliseconds above are of the bare way's where they were set.
        Result(
            name,
            "p50, of the bare way",
            ours.p50 / bare.p50,
            Limit(2.0, 1.27, 1.01, at_most=True),
            f"{_ms(ours.p50)} of {_ms(bare.p50)}, all rounds",
        ),
        Result(
            name,
            "p99, of the bare way",
            ours.p99 / bare.p99,
            Limit(2.4, 1.19, 0.95, at_most=True),
            f"{_ms(ours.p99)} of {_ms(bare.p99)}, all rounds",
        ),
    ]


def _in_turn(ways: Mapping[str, "Doors"], number: int) -> list[tuple[str, "Doors"]]:
    """Each is first as often as the other."""
    return sorted(ways.items(), reverse=bool(number % 2))


def _middle(rounds: Sequence["Way"]) -> "Way":
    return Way(*map(statistics.median, zip(*rounds, strict=True)))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


class Way(NamedTuple):
    """Seconds: from the POST to the commit at whoever consumes it, and to its answer."""

    p50: float
    p99: float
    post: float


class Doors(NamedTuple):
    """The ports of a way's two ends."""

    post: int
    commits: int


async def _start_ours(bench: Bench, programs: AsyncExitStack, server: Postgres, broker: Broker) -> Doors:
    first = ports.suggest(2)
    for place, name in enumerate(("payments", "enrolment")):
        await (await make_store(server, bench.folder, name)).dispose()
        environment = {
            "MC_NAME": name,
            "MC_DATABASE_URL": server.url(name, name),
            "MC_AMQP_URL": broker.url,
            "MC_FEED_SECRET": "bench",
            "MC_HOST": "127.0.0.1",
            "MC_PORT": str(first + place),
            "MC_VERSIONS": str(bench.folder / "versions"),
            "MC_MAIL_FOLDER": str(bench.folder / "mail"),
        }
        command = [sys.executable, "-m", "bench.posts"]
        # On no core of their own: there are more processes than cores, as on any machine this small.
        log = bench.folder / f"{name}.log"
        await programs.enter_async_context(running(command, None, log, first + place, environment))
    return Doors(first, first + 1)


async def _start_bare(bench: Bench, programs: AsyncExitStack, server: Postgres, broker: Broker) -> Doors:
    first = ports.suggest(3)
    for name in ("bare_payments", "bare_enrolment"):
        await (await make_store(server, bench.folder, name)).dispose()
    for place, (part, name) in enumerate(
        {"consumer": "bare_enrolment", "relay": "bare_payments", "api": "bare_payments"}.items()
    ):
        command = [sys.executable, "-m", "bench.bare_way", part, str(first + place), server.url(name, name), broker.url]
        log = bench.folder / f"bare-{part}.log"
        await programs.enter_async_context(running(command, None, log, first + place))
    return Doors(first + 2, first)


async def _travel(doors: Doors, count: int) -> Way:
    posted = await _post(doors.post, count)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client, asyncio.timeout(60):
        commits: dict[str, float] = {}
        while not posted.keys() <= commits.keys():
            await asyncio.sleep(0.2)
            commits = (await client.get(f"http://127.0.0.1:{doors.commits}/v1/commits")).json()
    way = [commits[refund_id] - began for refund_id, (began, _) in posted.items()]
    replies = [ended - began for began, ended in posted.values()]
    return Way(percentile(way, 0.5), percentile(way, 0.99), percentile(replies, 0.5))


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
