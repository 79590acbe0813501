"""A partner that was closed, or does not know of a consent, is sent nothing; each that knows is notified once."""

import asyncio
import json
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from credentials.commands import awards
from credentials.exchange.commands import partners, webhooks
from credentials.exchange.domain.webhooks import RETRY_AFTER, Answer
from credentials.tables.partners import WebhookDelivery, WebhookEndpoint
from shared.database import now as now_of
from shared.events.gateway import PartnerClosed
from shared.ids import new_id
from shared.secret_box import SecretBox

from .announcements import consume, hold_credit, let_time_work, revoked
from .deliveries import MANAGES, register, send
from .reviews import reinstated
from .shares import P, body, consent, fetch, handed_over, know
from .webhook_receivers import partner_server


@pytest.fixture
async def learner(service, session):
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await let_time_work(service)
    await know(session, P)
    return learner


@pytest.fixture
async def partner():
    async with partner_server() as partner:
        yield partner


@pytest.fixture
async def endpoint(service, learner, partner) -> str:
    return f"/v1/webhook-endpoints/{(await register(service, partner.url))['endpoint_id']}"


@pytest.fixture
async def closed(service, session, clock, learner, endpoint) -> dict:
    """The consent it had."""
    granted = await handed_over(service, learner, whole_record=True)
    await consume(session, PartnerClosed(client_id=P, closed_at=clock()))
    session.expire_all()
    return granted


async def test_a_closed_partner_has_nothing_sent_to_it_again(
    service,
    session,
    learner,
    partner,
    endpoint,
    closed,
) -> None:
    async with service.client(client_id=P, scopes=MANAGES) as client:
        new = {"url": partner.url, "contact_email": "it@example.edu"}
        answers = [await client.post(f"{endpoint}/{what}") for what in ("enablement", "pings")]
        answers.append(await client.post(f"{endpoint}/secrets", json={}))
        answers.append(await client.post("/v1/webhook-endpoints", json=new))
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(409, "partner_ended")}
    row = await session.scalar(select(WebhookEndpoint))
    row.disabled_at = None  # by a release that let it
    await consume(session, revoked(learner, "DS01"))
    await send(service, session)
    assert partner.got == []
    assert (await session.scalars(select(WebhookDelivery))).all() == []


async def test_consents_for_a_closed_partner_have_ended(service, learner, closed) -> None:
    answer = await fetch(service, closed["share_id"])
    assert (answer.status_code, answer.json()["code"]) == (403, "share_expired")
    async with service.client("learner", id=learner) as client:
        (shown,) = (await client.get("/v1/shares")).json()["items"]
        again = await client.post("/v1/shares", json=body(learner, "DS01", client_id=P))
    assert shown["state"] == "expired"
    assert (again.status_code, again.json()["code"]) == (422, "unknown_recipient")


async def test_an_address_is_not_enabled_while_its_partner_is_closed(live, partner) -> None:
    """In whichever order the two come."""
    database = live.process.database
    async with database.transaction() as session:
        await know(session, P)
    made = await register(live, partner.url)
    async with database.transaction() as session:
        await partners.close_partner(session, P, now_of(session))
        enabling = asyncio.create_task(enable(live, made["endpoint_id"]))
        await asyncio.sleep(0.3)
    assert (await enabling).json()["code"] == "partner_ended"
    async with database.transaction() as session:
        assert (await session.scalar(select(WebhookEndpoint))).disabled_reason == "partner_closed"


async def enable(service, endpoint_id: str):
    async with service.client(client_id=P, scopes=MANAGES) as client:
        return await client.post(f"/v1/webhook-endpoints/{endpoint_id}/enablement")


async def test_a_consent_nobody_handed_over_tells_the_partner_nothing(
    service,
    session,
    learner,
    partner,
    endpoint,
) -> None:
    granted = await consent(service, learner, whole_record=True)
    await consume(session, revoked(learner, "DS02"))
    await send(service, session)
    async with service.client("learner", id=learner) as client:
        await client.post(f"/v1/shares/{granted['share_id']}/withdrawal")
    await send(service, session)
    assert partner.got == []


async def test_a_partner_with_two_consents_is_notified_once_of_both(
    service,
    session,
    learner,
    partner,
    endpoint,
) -> None:
    granted = [await handed_over(service, learner, whole_record=True) for _ in range(2)]
    award = await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    await awards.confer_award(session, award.award_id, by=new_id())
    await consume(session, revoked(learner, "DS02"))
    await send(service, session)
    deliveries = {delivery.type: json.loads(delivery.payload)["data"] for delivery in await session.scalars(DELIVERIES)}
    assert sorted(deliveries) == ["award.conferred", "credit.revoked"]
    both = sorted(one["share_id"] for one in granted)
    assert [sorted(data["share_ids"]) for data in deliveries.values()] == [both, both]
    assert deliveries["award.conferred"]["share_id"] in both


async def test_credit_given_back_by_a_clock_that_is_ahead_is_notified(
    service,
    session,
    clock,
    learner,
    partner,
    endpoint,
) -> None:
    await handed_over(service, learner, "DS01")
    await consume(session, revoked(learner, "DS01"))
    await send(service, session)
    given = reinstated(learner, "DS01", days=54)
    await consume(session, given.model_copy(update={"reinstated_at": clock() + timedelta(seconds=5)}))
    await let_time_work(service)
    await send(service, session)
    deliveries = [delivery.type for delivery in await session.scalars(DELIVERIES)]
    assert sorted(deliveries) == ["credit.reinstated", "credit.revoked"]


DELIVERIES = select(WebhookDelivery).order_by(WebhookDelivery.delivery_id)


async def test_what_is_replayed_while_a_try_fails_is_tried_again_within_seconds(
    service,
    session,
    clock,
    learner,
    partner,
    endpoint,
) -> None:
    async with service.client(client_id=P, scopes=MANAGES) as client:
        delivery = (await client.post(f"{endpoint}/pings")).json()
        await webhooks.take_due(session, service.service.resources[SecretBox], 20)
        await client.post(f"/v1/webhook-deliveries/{delivery['delivery_id']}/replay")
    session.expire_all()
    await webhooks.note_answer(session, UUID(delivery["delivery_id"]), Answer(503, "", "answered 503", 1))
    row = await session.scalar(DELIVERIES)
    assert row.due_at <= clock() + 2 * RETRY_AFTER[0]
