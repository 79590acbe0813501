"""A consent is withdrawn whatever a partner does with it at that moment; a locked link is reported to who made it."""

import asyncio
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text

from credentials.exchange.commands import sharing
from credentials.tables.awards import PendingEmail
from shared.database import advisory_lock
from shared.ids import new_id

from .announcements import hold_credit, introduce, let_time_work
from .shared_files import EVERYTHING
from .shares import READS, P, handed_over, know, link

FETCHES = {
    "record": ("POST", "/fetches"),
    "learner record": ("GET", ".clr"),
    "paper": ("GET", ".pdf"),
}


@pytest.mark.parametrize("fetch", FETCHES)
async def test_a_consent_is_withdrawn_while_the_partner_fetches(live, fetch) -> None:
    learner, database = new_id(), live.process.database
    async with database.transaction() as session:
        await introduce(session, learner)
        await hold_credit(session, learner, DS=1)
        await know(session, P)
    await let_time_work(live)
    granted = await handed_over(live, learner, **EVERYTHING, credit_ids=[])
    method, path = FETCHES[fetch]
    address = f"/v1/shared-records/{granted['share_id']}{path}"
    async with live.client(client_id=P, scopes=READS) as client:
        async with database.transaction() as session:
            await session.execute(text("set local lock_timeout = '3s'"))
            await advisory_lock(session, "learner", learner)
            fetching = asyncio.create_task(client.request(method, address))
            await asyncio.sleep(0.3)
            await sharing.withdraw_share(session, learner, UUID(granted["share_id"]))
        answer = await fetching
        while answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # on a busy machine it has waited for too long
            answer = await client.request(method, address)
    assert (answer.status_code, answer.json()["code"]) == (403, "share_withdrawn")


async def test_who_made_a_link_is_emailed_that_it_was_locked(service, session, clock) -> None:
    learner = new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=2)
    path = await link(service, learner, pin="4821")
    async with service.client() as anyone:
        gate = await anyone.get(path)
        page = await anyone.get(path, headers={"Accept": "text/html"})
        answers = [await anyone.post(path, json={"pin": "0000"}) for _ in range(6)]
    assert answers[-1].json()["code"] == "link_ended"
    assert (gate.json()["purpose"], "Admission" in page.text) == (None, False)
    (pending,) = await session.scalars(select(PendingEmail).where(PendingEmail.learner_id == learner))
    assert pending.kind == "share_locked"
