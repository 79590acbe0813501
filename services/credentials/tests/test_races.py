"""Two tabs at once, over real connections to a real server on a real database."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from sqlalchemy import func, select

from credentials.tables.awards import Allocation, Award
from shared.ids import new_id
from shared.running import Server

from .announcements import hold_credit, named

ROUNDS = 100
CLAIM = {"level": "pgcert", "title": "PGCert in Data Science"}


@asynccontextmanager
async def serving(service):
    """The service's own application behind a port of its own."""
    server = Server(uvicorn.Config(service.process.app, host="127.0.0.1", port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag, no event
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.slow
async def test_a10_two_tabs_claim_shared_credit_a_hundred_times(live) -> None:
    """Each time one 201 and one 409, and four credits allocated once."""
    outcomes: Counter[tuple] = Counter()
    limits = httpx.Limits(max_connections=2, max_keepalive_connections=2)
    async with serving(live) as base_url, httpx.AsyncClient(base_url=base_url, limits=limits, timeout=30) as http:
        for _ in range(ROUNDS):
            learner = new_id()
            async with live.process.database.transaction() as session:
                await hold_credit(session, learner, DS=5)
            token = live.issuer.token("learner", id=learner)
            barrier = asyncio.Barrier(2)

            async def claim(codes: range, *, token: str = token, learner=learner, barrier=barrier) -> tuple[int, str]:
                body = CLAIM | {"credit_ids": [str(named("credit", learner, f"DS{n:02}")) for n in codes]}
                headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())}
                await barrier.wait()
                answer = await http.post("/v1/award-claims", json=body, headers=headers)
                while answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # on a busy machine
                    answer = await http.post("/v1/award-claims", json=body, headers=headers)
                return answer.status_code, answer.json().get("code", "")

            outcomes[tuple(sorted(await asyncio.gather(claim(range(1, 5)), claim(range(2, 6)))))] += 1
            async with live.process.database.transaction() as session:
                allocated = select(func.count(), func.count(Allocation.credit_id.distinct())).where(
                    Allocation.live,
                    Allocation.award_id.in_(select(Award.award_id).where(Award.learner_id == learner)),
                )
                assert (await session.execute(allocated)).one() == (4, 4)
    assert outcomes == {((201, ""), (409, "not_available")): ROUNDS}
