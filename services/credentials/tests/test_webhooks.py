"""Partners are notified: signed, to public addresses only, again and again for at least a day, and seen to have been."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import select, text
from standardwebhooks import Webhook, WebhookVerificationError

from credentials import jobs as clockwork
from credentials.commands import awards
from credentials.exchange.adapters.webhooks import WebhookClient
from credentials.exchange.commands import webhooks
from credentials.exchange.domain.webhooks import RETRY_AFTER, Answer, next_try
from credentials.tables.partners import WebhookDelivery, WebhookSecret
from shared.events.credentials import ShareRevoked, WebhookDisabled
from shared.ids import new_id
from shared.jobs import Work
from shared.secret_box import SecretBox
from shared.testing.services import published

from .announcements import consume, hold_credit, let_time_work, named, registered, revoked
from .deliveries import MANAGES, register, send
from .reviews import reinstated
from .shares import P, Q, handed_over, know
from .webhook_receivers import DOCUMENTED, partner_server


@pytest.fixture
async def learner(service, session, clock):
    learner = new_id()
    await consume(session, registered(learner))
    await hold_credit(session, learner, DS=4)
    await let_time_work(service)
    await know(session, P, Q)
    return learner


@pytest.fixture
async def partner():
    async with partner_server() as partner:
        yield partner


async def test_a_partner_is_notified_of_a_withdrawn_consent(live, partner) -> None:
    """T2's second half, through the event log with real commits; the other partner receives nothing."""
    live.clock.at = datetime.now(UTC)
    learner = new_id()
    async with live.process.database.transaction() as session:
        await consume(session, registered(learner))
        await hold_credit(session, learner, DS=2)
        await know(session, P, Q)
    endpoint = await register(live, partner.url)
    async with partner_server() as other:
        await register(live, other.url, Q)
        granted = await handed_over(live, learner, "DS01")
        async with live.client("learner", id=learner) as client:
            await client.post(f"/v1/shares/{granted['share_id']}/withdrawal")
        await send(live)
        await send(live)
        (message,) = partner.messages(endpoint["secret"])
        assert other.got == []
    assert message["type"] == "consent.withdrawn"
    assert message["data"] == {"share_id": granted["share_id"]}
    with pytest.raises(WebhookVerificationError):
        partner.messages("whsec_" + "AAAA" * 11)


async def test_an_event_whose_id_is_of_no_year_is_news_like_any_other(
    service, session, clock, learner, partner
) -> None:
    await register(service, partner.url)
    granted = await handed_over(service, learner, "DS01")
    async with service.client("learner", id=learner) as client:
        await client.post(f"/v1/shares/{granted['share_id']}/withdrawal")
    (withdrawn,) = [event for event in await published(session) if isinstance(event, ShareRevoked)]
    await webhooks.notify_partners(session, UUID("ffffffff-ffff-7fff-bfff-ffffffffffff"), withdrawn)
    assert (await session.scalars(select(WebhookDelivery.type))).all() == ["consent.withdrawn"]


async def test_a_partner_with_consent_is_notified_of_a_revoked_credit(
    service, session, clock, learner, partner
) -> None:
    endpoint = await register(service, partner.url)
    granted = await handed_over(service, learner, "DS01", "DS02")
    clock.at = datetime.now(UTC)
    await consume(session, revoked(learner, "DS02"), revoked(learner, "DS04"))
    await send(service, session)
    await send(service, session)
    (message,) = partner.messages(endpoint["secret"])
    assert message["type"] == "credit.revoked"
    assert message["data"] == {
        "credit_id": str(named("credit", learner, "DS02")),
        "share_ids": [granted["share_id"]],
        "transfer_ids": [],
    }


async def test_a_partner_is_notified_that_credit_was_given_back(service, session, clock, learner, partner) -> None:
    await register(service, partner.url)
    await handed_over(service, learner, "DS01")
    await consume(session, revoked(learner, "DS01"))
    await send(service, session)
    await consume(session, reinstated(learner, "DS01", days=54))
    clock.advance(days=2)
    await let_time_work(service)
    await send(service, session)
    assert partner.types() == ["credit.revoked", "credit.reinstated"]


async def test_only_a_consent_for_the_award_brings_news_of_it(service, session, clock, learner, partner) -> None:
    endpoint = await register(service, partner.url)
    await handed_over(service, learner, "DS01", "DS02", "DS03", "DS04")
    granted = await handed_over(service, learner, whole_record=True)
    award = await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    clock.at = datetime.now(UTC)
    award.reserved_until = clock.at + timedelta(minutes=30)
    await awards.confer_award(session, award.award_id, by=new_id())
    await send(service, session)
    (message,) = partner.messages(endpoint["secret"])
    assert (message["type"], message["data"]["share_id"]) == ("award.conferred", granted["share_id"])
    assert "title" not in json.dumps(message)


async def test_a_failed_delivery_is_tried_for_days_and_then_the_address_is_disabled(
    service, session, clock, learner, partner
) -> None:
    """T5's second half: the same id at every try, for more than 24 hours; then event, e-mail and partner API report it."""
    endpoint = await register(service, partner.url)
    granted = await handed_over(service, learner, "DS01")
    partner.status, partner.body = 503, b"x" * 5000
    async with service.client("learner", id=learner) as client:
        await client.post(f"/v1/shares/{granted['share_id']}/withdrawal")
    began = clock()
    async with service.client(client_id=P, scopes=MANAGES) as client:
        for _ in range(20):
            await send(service, session)
            (delivery,) = (await client.get("/v1/webhook-deliveries")).json()["items"]
            if delivery["state"] != "pending":
                break
            clock.at = max(datetime.fromisoformat(delivery["due_at"]), clock.at)
        else:
            pytest.fail("it is pending still after twenty tries")
        listed = (await client.get(f"/v1/webhook-deliveries/{delivery['delivery_id']}")).json()
        (shown,) = (await client.get("/v1/webhook-endpoints")).json()["items"]
    assert (listed["state"], len(listed["attempts"]), len(partner.got)) == ("failed", 10, 10)
    assert clock() - began > timedelta(hours=24)
    assert len({headers["webhook-id"] for headers, _ in partner.got}) == 1
    assert [(one["status"], len(one["response"]), one["error"]) for one in listed["attempts"]] == [
        (503, 2048, "answered 503")
    ] * 10
    assert (shown["disabled_reason"], shown["disabled_at"] is not None) == ("failing", True)
    (event,) = [event for event in await published(session) if isinstance(event, WebhookDisabled)]
    assert (str(event.endpoint_id), event.client_id, event.reason_code) == (endpoint["endpoint_id"], P, "failing")
    emails = (await session.execute(text("select recipient, text from letters where kind = 'webhook_disabled'"))).all()
    assert [email.recipient for email in emails] == ["it@example.edu"]

    # What comes meanwhile is held back; enabling sends it, and what was given up can be replayed.
    later = await handed_over(service, learner, "DS02")
    async with service.client("learner", id=learner) as person:
        await person.post(f"/v1/shares/{later['share_id']}/withdrawal")
    await send(service, session)
    assert len(partner.got) == 10
    partner.status = 200
    clock.at = datetime.now(UTC)
    async with service.client(client_id=P, scopes=MANAGES) as client:
        await client.post(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}/enablement")
        await session.execute(text("update webhook_deliveries set due_at = :now"), {"now": clock.at})
        await send(service, session)
        assert len(partner.got) == 11
        replayed = await client.post(f"/v1/webhook-deliveries/{delivery['delivery_id']}/replay")
        assert (replayed.status_code, replayed.json()["state"]) == (202, "pending")
        await send(service, session)
    assert [Webhook(endpoint["secret"]).verify(body, headers)["type"] for headers, body in partner.got[10:]] == [
        "consent.withdrawn"
    ] * 2
    assert partner.got[11][0]["webhook-id"] == partner.got[0][0]["webhook-id"]


async def test_gone_means_at_once(service, session, clock, learner, partner) -> None:
    endpoint = await register(service, partner.url)
    partner.status = 410
    async with service.client(client_id=P, scopes=MANAGES) as client:
        await client.post(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}/pings")
        await send(service, session)
        (shown,) = (await client.get("/v1/webhook-endpoints")).json()["items"]
    assert (shown["disabled_reason"], len(partner.got)) == ("gone", 1)


async def test_two_secrets_sign_while_one_is_changed(service, session, clock, learner, partner) -> None:
    clock.at = datetime.now(UTC)
    endpoint = await register(service, partner.url)
    address = f"/v1/webhook-endpoints/{endpoint['endpoint_id']}"
    async with service.client(client_id=P, scopes=MANAGES) as client:
        second = (await client.post(f"{address}/secrets", json={"overlap_hours": 2})).json()["secret"]
        await client.post(f"{address}/pings")
        await send(service, session)
        assert [one["type"] for one in partner.messages(endpoint["secret"]) + partner.messages(second)] == [
            "webhook.ping"
        ] * 2
        assert partner.got[0][0]["webhook-signature"].count("v1,") == 2
        await session.execute(text("update webhook_secrets set expires_at = expires_at - interval '2 hours'"))
        session.expire_all()
        await client.post(f"{address}/pings")
        await send(service, session)
        assert partner.got[1][0]["webhook-signature"].count("v1,") == 1
        Webhook(second).verify(partner.got[1][1], partner.got[1][0])
        for _ in range(3):
            added = await client.post(f"{address}/secrets", json={})
            assert added.status_code == 201
        assert (await client.post(f"{address}/secrets", json={})).json()["code"] == "too_many_webhook_secrets"
    kept = (await session.scalars(select(WebhookSecret.wrapped))).all()
    assert all(len(one) == 12 + 32 + 16 for one in kept)


async def test_a_partner_manages_its_own_addresses_only(service, session, clock, learner, partner) -> None:
    endpoint = await register(service, partner.url)
    address = f"/v1/webhook-endpoints/{endpoint['endpoint_id']}"
    async with service.client(client_id=P, scopes=MANAGES) as own, service.client(client_id=Q, scopes=MANAGES) as other:
        delivery = (await own.post(f"{address}/pings")).json()
        for method, path, body in (
            ("DELETE", address, None),
            ("POST", f"{address}/secrets", {}),
            ("POST", f"{address}/pings", None),
            ("POST", f"{address}/enablement", None),
            ("GET", f"/v1/webhook-deliveries/{delivery['delivery_id']}", None),
            ("POST", f"/v1/webhook-deliveries/{delivery['delivery_id']}/replay", None),
        ):
            assert (await other.request(method, path, json=body)).status_code == 404, (method, path)
        assert (await other.get("/v1/webhook-endpoints")).json()["items"] == []
        assert (await other.get("/v1/webhook-deliveries")).json()["items"] == []
        assert (await own.delete(address)).status_code == 204
        assert (await own.post(f"{address}/pings")).json()["code"] == "endpoint_removed"
        assert (await own.get("/v1/webhook-endpoints")).json()["items"] == []
        await send(service, session)
        assert partner.got == []
        for _ in range(5):
            await register(service, partner.url)
        sixth = await own.post("/v1/webhook-endpoints", json={"url": partner.url, "contact_email": "it@example.edu"})
        assert (sixth.status_code, sixth.json()["code"]) == (409, "too_many_endpoints")
    async with service.client(client_id="mcp_unknown", scopes=MANAGES) as stranger:
        sent = {"url": partner.url, "contact_email": "it@example.edu"}
        assert (await stranger.post("/v1/webhook-endpoints", json=sent)).status_code == 404


async def take_signed(session, secret_box: SecretBox) -> list[webhooks.SignedDelivery]:
    """What is due, none of which fails to be signed."""
    taken = await webhooks.take_due(session, secret_box, 20)
    signed = [one for one in taken if isinstance(one, webhooks.SignedDelivery)]
    assert signed == taken
    return signed


async def test_a_sender_that_dies_after_posting_posts_again_under_the_same_id(
    service, session, clock, learner, partner
) -> None:
    endpoint = await register(service, partner.url)
    async with service.client(client_id=P, scopes=MANAGES) as client:
        await client.post(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}/pings")
    secret_box, webhook_client = service.service.resources[SecretBox], service.service.resources[WebhookClient]
    (signed_delivery,) = await take_signed(session, secret_box)
    await webhook_client.post(signed_delivery.url, signed_delivery.headers, signed_delivery.body)  # and then it dies
    assert await take_signed(session, secret_box) == []
    clock.advance(minutes=1)
    await send(service, session)
    assert len(partner.got) == 2
    assert len({headers["webhook-id"] for headers, _ in partner.got}) == 1


async def test_one_partner_in_arrears_does_not_hold_up_another(service, session, clock, learner, partner) -> None:
    endpoint = await register(service, partner.url)
    async with partner_server() as other:
        quick = await register(service, other.url, Q)
        async with service.client(client_id=P, scopes=MANAGES) as client:
            for _ in range(30):
                await client.post(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}/pings")
        async with service.client(client_id=Q, scopes=MANAGES) as client:
            await client.post(f"/v1/webhook-endpoints/{quick['endpoint_id']}/pings")
        batch = await take_signed(session, service.service.resources[SecretBox])
    assert sorted(signed_delivery.url for signed_delivery in batch) == sorted([partner.url] * 4 + [other.url])


async def test_two_senders_never_take_the_same_delivery(live, partner) -> None:
    async with live.process.database.transaction() as session:
        await know(session, P)
    endpoint = await register(live, partner.url)
    async with live.client(client_id=P, scopes=MANAGES) as client:
        for _ in range(3):
            await client.post(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}/pings")
    secret_box = live.service.resources[SecretBox]

    async def take() -> list[webhooks.SignedDelivery]:
        async with live.process.database.transaction() as session:
            taken = await take_signed(session, secret_box)
            await asyncio.sleep(0.2)
            return taken

    batches = await asyncio.gather(take(), take(), take())
    taken = [signed_delivery.delivery_id for batch in batches for signed_delivery in batch]
    assert len(taken) == len(set(taken)) == 3


async def test_a_refused_address_is_answered_in_words(service, session, clock, learner) -> None:
    async with service.client(client_id=P, scopes=MANAGES) as client:
        for url in ("https://169.254.169.254/", "ftp://example.org/"):
            sent = {"url": url, "contact_email": "it@example.edu"}
            answer = await client.post("/v1/webhook-endpoints", json=sent)
            assert (answer.status_code, answer.json()["code"]) == (422, "webhook_address_refused")
        sent = {"url": "https://example.org/", "contact_email": "it@example.edu\nBcc: all@example.org"}
        assert (await client.post("/v1/webhook-endpoints", json=sent)).json()["code"] == "invalid_request"


def test_tries_go_on_for_more_than_a_day_and_grow_apart() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    for chance in (0.0, 0.999):
        waits = [next_try(tries, now, chance) - now for tries in range(1, len(RETRY_AFTER) + 1)]
        assert sum(waits, timedelta()) >= timedelta(hours=24)
        assert all(earlier < later for earlier, later in pairwise(waits))
        assert next_try(len(RETRY_AFTER) + 1, now, chance) is None


def test_an_answer_counts_where_nothing_speaks_against_it() -> None:
    assert Answer(204, "", None, 3).taken
    assert not Answer(500, "", "answered 500", 3).taken
    assert Answer(410, "", "answered 410", 3).gone


def test_every_message_there_can_be_is_documented() -> None:
    """What each says is compared wherever one is received."""
    named = {name for name, _ in (*webhooks._OF_AWARDS.values(), *webhooks._OF_TRANSFERS.values())}
    assert set(DOCUMENTED) == named | {"consent.withdrawn", "credit.revoked", "credit.reinstated", "webhook.ping"}


async def test_a_log_that_is_read_anew_tells_what_was_missed_and_nothing_of_before_an_address_was_known(
    live, partner
) -> None:
    """As after a release whose feed skipped events, or on a restored database."""
    live.clock.at = datetime.now(UTC)
    learner = new_id()
    async with live.process.database.transaction() as session:
        await consume(session, registered(learner))
        await hold_credit(session, learner, DS=2)
        await know(session, P)
    await register(live, partner.url)
    work = Work(live.process.database, live.service.resources)
    for missed in (False, True):
        granted = await handed_over(live, learner, "DS01")
        async with live.client("learner", id=learner) as client:
            await client.post(f"/v1/shares/{granted['share_id']}/withdrawal")
        if not missed:
            await clockwork.notify_partners(work)
    live.clock.advance(hours=2)
    async with partner_server() as late:
        await register(live, late.url)
        async with live.process.database.transaction() as session:
            await webhooks.move_on(session, "7.7")
        await clockwork.notify_partners(work)
        await clockwork.send_webhooks(work)
        assert partner.types() == ["consent.withdrawn"] * 2
        assert late.got == []
