"""payments of the delivery suite with routes that go wrong, and how the tests of its HTTP door ask it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlalchemy import delete, text

from shared.access import anyone
from shared.database import RawStatement, fetch
from shared.errors import Invalid
from shared.ids import new_id
from shared.messaging import publish
from shared.sessions import outside_transaction
from shared.web import DatabaseOf, Idempotent, Instant, ReadSession, Router, Session, View, error_responses

from . import delivery
from .delivery import Refund

router = Router()


@router.post("/v1/mistakes", operation_id="swallow_error")
async def swallow_error(session: Session) -> dict[str, str]:
    publish(session, delivery.refund_of())
    await session.flush()
    with contextlib.suppress(Exception):  # the mistake under test
        await session.execute(text("insert into refunds values (gen_random_uuid(), gen_random_uuid(), 0)"))
    return {"said": "all is well"}


@router.post("/v1/streams", operation_id="read_stream")
async def read_stream(request: Request) -> dict[str, int]:
    return {"size": sum([len(piece) async for piece in request.stream()])}


@router.post("/v1/savepoints", operation_id="forgive_error")
async def forgive_error(session: Session) -> dict[str, str]:
    publish(session, delivery.refund_of())
    try:
        async with session.begin_nested():
            await session.execute(text("insert into refunds values (gen_random_uuid(), gen_random_uuid(), 0)"))
    except Exception:  # noqa: BLE001, S110 - the savepoint has dealt with it
        pass
    return {"said": "all is well"}


@router.post("/v1/refusals", operation_id="refuse_late")
async def refuse_late(session: Session) -> None:
    publish(session, delivery.refund_of())
    await session.flush()
    await fetch(session, Refund, new_id())


@router.get("/v1/sleep", operation_id="hold_connection")
async def hold_connection(session: Session) -> None:
    await session.execute(text("select pg_sleep(1)"))


@router.get("/v1/raw", operation_id="read_raw")
async def read_raw(database: DatabaseOf, seconds: float = 0, of: int = 1) -> dict[str, int]:
    row = await ONE.row(database, seconds=seconds, number=6, of=of)
    return {"half": row["half"], "whole": row["whole"]}


ONE = RawStatement("select :number::int / :of::int as half, :number::int as whole, pg_sleep(:seconds)")


@router.post("/v1/patience", operation_id="wait_for_lock")
async def wait_for_lock(session: Session) -> None:
    await session.execute(text("lock table refunds in access exclusive mode"))


@router.post("/v1/slow-refunds", operation_id="refund_slowly", dependencies=[Idempotent])
async def refund_slowly(session: Session) -> dict[str, str]:
    publish(session, delivery.refund_of())
    await session.flush()
    await session.execute(text("select pg_sleep(1)"))
    return {"said": "done"}


@router.get("/v1/downloads", operation_id="download_slowly")
async def download_slowly() -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        for piece in ("one", "two", "three"):
            await asyncio.sleep(0.2)
            yield piece

    return StreamingResponse(pieces())


asked_outside = asyncio.Semaphore(0)
outside_answers = asyncio.Semaphore(0)


@router.post("/v1/outside", operation_id="ask_outside", dependencies=[Idempotent])
async def ask_outside(session: Session) -> dict[str, str]:
    """What is done twice where nothing but the key keeps a repeat from it."""
    async with outside_transaction(session):
        asked_outside.release()
        await outside_answers.acquire()
    publish(session, delivery.refund_of())
    await session.flush()
    return {"said": "done"}


@router.get("/v1/wrong-reads", operation_id="write_while_reading")
async def write_while_reading(session: ReadSession, how: str) -> dict[str, str]:
    match how:
        case "add":
            session.add(Refund(refund_id=new_id(), learner_id=new_id(), amount_minor=1))
        case "core":
            await session.execute(delete(Refund))
        case "text":
            await session.execute(text("with gone as (delete from refunds returning 1) select count(*) from gone"))
        case "driver":
            await GONE.within(session)
        case _:
            found = await session.scalar(text("select count(*) from refunds where 'update' <> 'insert'"))
            return {"said": str(found)}
    return {"said": "all is well"}


GONE = RawStatement("delete from refunds")


class OddAmount(Invalid):
    """Only an even amount can be halved.

    The rest is for whoever reads the code.
    """


class HalfView(View):
    half: int
    halved_at: Instant


@router.get("/v1/halves/{amount}", operation_id="halve_amount", responses=error_responses(OddAmount))
async def halve_amount(amount: int) -> HalfView:
    raise OddAmount(f"{amount} is odd")


@router.get("/v1/plain", operation_id="read_plain")
async def read_plain() -> PlainTextResponse:
    """Documented as JSON, for nobody said otherwise."""
    return PlainTextResponse("plain")


OPEN = {
    name: anyone()
    for name in (
        "swallow_error",
        "forgive_error",
        "read_stream",
        "refuse_late",
        "ask_outside",
        "write_while_reading",
        "hold_connection",
        "read_raw",
        "wait_for_lock",
        "refund_slowly",
        "download_slowly",
        "halve_amount",
        "read_plain",
    )
}


PATHS = {"session": "/v1/refunds", "fast": "/v1/fast-refunds"}


both_ways = pytest.mark.parametrize("way", ["session", "fast"], indirect=True)
fast_way = pytest.mark.parametrize("way", ["fast"], indirect=True)


def client(api, token=None):
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(api.app, raise_app_exceptions=False),
        base_url="http://payments",
        headers={"Authorization": f"Bearer {token or api.issuer.token('learner')}"},
    )


async def ask(caller, key="key-1", amount=49500):
    headers = {} if key is None else {"Idempotency-Key": key}
    return await caller.post(PATHS.get("asked", PATHS["session"]), json={"amount_minor": amount}, headers=headers)


async def counts(node):
    return tuple([await node.one(f"select count(*) from {name}") for name in ("refunds", "outbox", "idempotency_keys")])
