"""Credit into degrees elsewhere: asked for, decided one by one, held, consumed or returned; never in two places."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from credentials import jobs as clockwork
from credentials.commands import awards
from credentials.exchange.domain.transfers import suggestion
from credentials.tables.awards import Allocation
from credentials.tables.partners import WebhookDelivery
from credentials.tables.transfers import Programme
from shared.events.credentials import (
    TransferCompleted,
    TransferDecided,
    TransferRequested,
    TransferReturned,
    TransferWithdrawn,
)
from shared.ids import new_id
from shared.jobs import Work
from shared.testing.services import published

from .announcements import BEFORE, consume, hold_credit, named, registered, revoked
from .degrees import DECIDES, PROGRAMME, act, credit_states, decision, ids, programme, request
from .deliveries import register, send
from .shares import P, Q, know
from .webhook_receivers import partner_server


@pytest.fixture
def learner(applicant):
    return applicant


async def test_one_of_two_is_accepted_and_the_learner_sees_why(service, session, clock, learner) -> None:
    """T3: one committed, one free; the learner sees the reason."""
    asked = (await request(service, learner, "DS01", "DS02")).json()
    assert (asked["state"], asked["decide_by"]) == ("requested", "2027-01-22T12:00:00Z")
    decided = await act(service, asked["transfer_id"], "decision", decision(learner, DS01="accept", DS02="refuse"))
    assert decided.status_code == 200, decided.text
    async with service.client("learner", id=learner) as client:
        seen = (await client.get(f"/v1/transfers/{asked['transfer_id']}")).json()
    assert [(line["course_code"], line["state"], line["reason"]) for line in seen["lines"]] == [
        ("DS01", "committed", "On DS01."),
        ("DS02", "refused", "On DS02."),
    ]
    assert (seen["state"], seen["accepted_until"], seen["held_credits"]) == ("accepted", "2028-01-01T00:00:00Z", 15)
    assert await credit_states(service, learner) == {
        "DS01": "committed",
        "DS02": "ratified",
        "DS03": "ratified",
        "DS04": "ratified",
    }
    announced = [e for e in await published(session) if isinstance(e, TransferRequested | TransferDecided)]
    assert [type(event).__name__ for event in announced] == ["TransferRequested", "TransferDecided"]
    pending = (await session.execute(text("select kind, subject from notices"))).all()
    assert ("transfer_decided", "Example University has decided on your transfer") in [tuple(row) for row in pending]


async def test_committed_credit_makes_no_award_and_claimed_credit_is_not_committed(
    service, session, clock, learner
) -> None:
    asked = (await request(service, learner, "DS01")).json()
    await act(service, asked["transfer_id"], "decision", decision(learner, DS01="accept"))
    claim = {"level": "pgcert", "title": "PGCert in Data Science"}
    async with service.client("learner", id=learner) as client:
        assert (await client.post("/v1/award-claims", json=claim)).json()["code"] == "not_eligible"
        chosen = claim | {"credit_ids": ids(learner, "DS01", "DS02", "DS03", "DS04")}
        assert (await client.post("/v1/award-claims", json=chosen)).json()["code"] == "not_available"
        await hold_credit(session, learner, DS=5)
        assert (await client.post("/v1/award-claims", json=claim)).status_code == 201
        for codes in (("DS02",), ("DS01",)):
            refused = await request(service, learner, *codes)
            assert (refused.status_code, refused.json()["code"]) == (409, "credit_not_free")


async def test_credit_claimed_between_request_and_decision_stays_with_the_claim(
    service, session, clock, learner
) -> None:
    asked = (await request(service, learner, "DS01", "DS02")).json()
    await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    refused = await act(service, asked["transfer_id"], "decision", decision(learner, DS01="accept", DS02="refuse"))
    assert (refused.status_code, refused.json()["code"]) == (409, "credit_not_free")
    assert refused.json()["credit_ids"] == ids(learner, "DS01")
    assert (
        await act(service, asked["transfer_id"], "decision", decision(learner, DS01="refuse", DS02="refuse"))
    ).json()["state"] == "refused"


async def test_the_database_itself_lets_a_credit_be_claimed_or_committed(service, session, clock, learner) -> None:
    asked = (await request(service, learner, "DS01")).json()
    await act(service, asked["transfer_id"], "decision", decision(learner, DS01="accept"))
    row = {"transfer_id": asked["transfer_id"], "credit_id": ids(learner, "DS01")[0], "level": "pgdip", "live": True}
    with pytest.raises(IntegrityError, match="uq_allocations_credit_id_level"):
        await session.execute(insert(Allocation).values(row))


async def test_a_claim_and_a_decision_at_once_have_one_winner(live) -> None:
    """Ten times, with real commits: the credit ends in one place."""
    async with live.process.database.transaction() as session:
        await know(session, P)
        await consume(session, programme())
    outcomes = set()
    for _ in range(10):
        learner = new_id()
        async with live.process.database.transaction() as session:
            await consume(session, registered(learner))
            await hold_credit(session, learner, DS=4)
        asked = (await request(live, learner, "DS01")).json()
        async with live.client("learner", id=learner) as client:
            claimed, decided = await asyncio.gather(
                client.post("/v1/award-claims", json={"level": "pgcert", "title": "PGCert in Data Science"}),
                act(live, asked["transfer_id"], "decision", decision(learner, DS01="accept")),
            )
        outcomes.add((claimed.status_code, decided.status_code))
    assert outcomes <= {(201, 409), (409, 200)}


async def test_a_conferred_degree_uses_credit_up_and_a_return_frees_it(service, session, clock, learner) -> None:
    first = (await request(service, learner, "DS01")).json()["transfer_id"]
    assert (await act(service, first, "completion")).json()["code"] == "not_accepted"
    await act(service, first, "decision", decision(learner, DS01="accept"))
    second = (await request(service, learner, "DS02")).json()["transfer_id"]
    await act(service, second, "decision", decision(learner, DS02="accept"))
    assert (await act(service, first, "completion")).json()["state"] == "completed"
    assert (await act(service, second, "return", {"reason_code": "left_programme"})).json()["state"] == "returned"
    states = await credit_states(service, learner)
    assert (states["DS01"], states["DS02"]) == ("consumed", "ratified")
    for what, body in (("return", {"reason_code": "late"}), ("completion", None)):
        assert (await act(service, first, what, body)).json()["code"] == "not_accepted"
    again = await act(service, second, "decision", decision(learner, DS02="accept"))
    assert (again.status_code, again.json()["code"]) == (409, "transfer_decided")
    announced = [e for e in await published(session) if isinstance(e, TransferCompleted | TransferReturned)]
    assert [type(event).__name__ for event in announced] == ["TransferCompleted", "TransferReturned"]
    assert announced[1].credit_ids == (named("credit", learner, "DS02"),)
    assert (await request(service, learner, "DS01")).json()["code"] == "credit_not_free"
    assert (await request(service, learner, "DS02")).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (lambda who: decision(who, DS01="accept"), 422, "decision_incomplete"),
        (lambda who: decision(who, DS01="accept", DS02="accept", DS03="accept"), 422, "decision_incomplete"),
        (lambda who: decision(who, DS01="accept", DS02="accept"), 409, "ceiling_exceeded"),
        (
            lambda who: decision(who, until="2040-01-01T00:00:00Z", DS01="accept", DS02="refuse"),
            422,
            "acceptance_out_of_bounds",
        ),
        (
            lambda who: decision(who, until="2026-11-23T12:00:00Z", DS01="accept", DS02="refuse"),
            422,
            "acceptance_out_of_bounds",
        ),
    ],
)
async def test_bad_decisions_are_refused_in_words(*, service, session, clock, learner, body, status, code) -> None:
    await consume(session, programme(version=2, ceiling=25))
    asked = (await request(service, learner, "DS01", "DS02")).json()["transfer_id"]
    answer = await act(service, asked, "decision", body(learner))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    partly = await act(service, asked, "decision", decision(learner, DS01="accept", DS02="partial"))
    assert [line["credits_recognised"] for line in partly.json()["lines"]] == [15, 10]
    states = await credit_states(service, learner)
    assert (states["DS01"], states["DS02"]) == ("committed", "committed")


async def test_amounts_go_with_outcomes(service, session, clock, learner) -> None:
    asked = (await request(service, learner, "DS01")).json()["transfer_id"]
    for outcome, amount in (("accept", 10), ("partial", 15), ("partial", None), ("refuse", 5)):
        body = decision(learner, DS01=outcome)
        body["decisions"][0]["credits_recognised"] = amount
        answer = await act(service, asked, "decision", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "credits_out_of_bounds")


async def test_a_partner_sees_and_decides_its_own_requests_only(service, session, clock, learner) -> None:
    asked = (await request(service, learner, "DS01", with_marks=True)).json()
    async with service.client(client_id=Q, scopes=DECIDES) as other, service.client(client_id=P, scopes=DECIDES) as own:
        assert (await other.get("/v1/transfers")).json()["items"] == []
        assert (await other.get(f"/v1/transfers/{asked['transfer_id']}")).status_code == 404
        (seen,) = (await own.get("/v1/transfers")).json()["items"]
        assert seen["lines"][0]["suggestion"] == {"module_code": "M1", "module_title": "Module 1", "credits": 15}
        record = (await own.post(f"/v1/shared-records/{asked['share_id']}/fetches")).json()["record"]
        assert [(one["course_code"], one["mark"]) for one in record["credits"]] == [("DS01", "60")]
        assert record["holder"]["id"] == seen["holder"]
    for what, body in (
        ("decision", decision(learner, DS01="accept")),
        ("completion", None),
        ("return", {"reason_code": "left_programme"}),
    ):
        assert (await act(service, asked["transfer_id"], what, body, partner=Q)).status_code == 404
    async with service.client("learner") as stranger:
        assert (await stranger.get(f"/v1/transfers/{asked['transfer_id']}")).status_code == 404
        assert (await stranger.post(f"/v1/transfers/{asked['transfer_id']}/withdrawal")).status_code == 404


async def test_a_withdrawn_request_takes_the_consent_with_it_and_the_other_way_round(
    service, session, clock, learner
) -> None:
    first = (await request(service, learner, "DS01")).json()
    assert (await request(service, learner, "DS02")).json()["code"] == "already_requested"
    async with service.client("learner", id=learner) as client, service.client(client_id=P, scopes=DECIDES) as partner:
        withdrawn = await client.post(f"/v1/transfers/{first['transfer_id']}/withdrawal")
        assert withdrawn.json()["state"] == "withdrawn"
        fetched = await partner.post(f"/v1/shared-records/{first['share_id']}/fetches")
        assert fetched.json()["code"] == "share_withdrawn"
        second = (await request(service, learner, "DS02")).json()
        await client.post(f"/v1/shares/{second['share_id']}/withdrawal")
        seen = (await partner.get(f"/v1/transfers/{second['transfer_id']}")).json()
        assert (seen["state"], seen["lines"]) == ("withdrawn", [])
        late = await act(service, second["transfer_id"], "decision", decision(learner, DS02="accept"))
        assert late.json()["code"] == "transfer_decided"
    announced = [event.reason_code for event in await published(session) if isinstance(event, TransferWithdrawn)]
    assert announced == ["withdrawn", "consent_withdrawn"]


async def test_what_takes_too_long_comes_back(service, session, clock, learner) -> None:
    undecided = (await request(service, learner, "DS01")).json()["transfer_id"]
    clock.advance(days=60)
    late = await act(service, undecided, "decision", decision(learner, DS01="accept"))
    assert late.json()["code"] == "transfer_decided"
    await clockwork.end_overdue_transfers(Work(service.process.database, service.service.resources))
    session.expire_all()
    accepted = (await request(service, learner, "DS02")).json()["transfer_id"]
    await act(service, accepted, "decision", decision(learner, until="2027-06-01T00:00:00Z", DS02="accept"))
    clock.at = datetime(2027, 6, 1, tzinfo=UTC)
    await clockwork.end_overdue_transfers(Work(service.process.database, service.service.resources))
    session.expire_all()
    async with service.client("learner", id=learner) as client:
        seen = (await client.get("/v1/transfers")).json()["items"]
    assert [(one["state"], one["closed_reason"]) for one in seen] == [
        ("returned", "acceptance_expired"),
        ("lapsed", "not_decided_in_time"),
    ]
    assert (await credit_states(service, learner))["DS02"] == "ratified"


async def test_a_partner_that_accepted_is_notified_within_a_minute_of_a_revocation(live) -> None:
    """T5, with real commits: also after every consent has ended."""
    live.clock.at = datetime.now(UTC)
    learner = new_id()
    async with live.process.database.transaction() as session:
        await consume(session, registered(learner))
        await hold_credit(session, learner, DS=1)
        await know(session, P)
        await consume(session, programme())
    asked = (await request(live, learner, "DS01")).json()
    until = (live.clock.at + timedelta(days=90)).isoformat()
    await act(live, asked["transfer_id"], "decision", decision(learner, until=until, DS01="accept"))
    async with live.client("learner", id=learner) as client:
        await client.post(f"/v1/shares/{asked['share_id']}/withdrawal")
    async with partner_server() as partner:
        endpoint = await register(live, partner.url)
        await send(live)
        before = len(partner.got)
        async with live.process.database.transaction() as session:
            await consume(session, revoked(learner, "DS01"))
        await send(live)  # what the two jobs do every second
        message = partner.messages(endpoint["secret"])[before:]
    assert [(one["type"], one["data"]["transfer_ids"]) for one in message] == [
        ("credit.revoked", [asked["transfer_id"]])
    ]
    async with live.process.database.transaction() as session:
        delay = await session.scalar(
            select(WebhookDelivery.settled_at - WebhookDelivery.created_at).where(
                WebhookDelivery.type == "credit.revoked"
            )
        )
    assert delay < timedelta(minutes=1)


async def test_partners_are_notified_of_every_turn_of_a_transfer(service, session, clock, learner) -> None:
    async with partner_server() as partner:
        await register(service, partner.url)
        first = (await request(service, learner, "DS01")).json()["transfer_id"]
        await act(service, first, "decision", decision(learner, DS01="accept"))
        await act(service, first, "return", {"reason_code": "left_programme"})
        await send(service, session)
    assert sorted(partner.types()) == ["transfer.decided", "transfer.requested", "transfer.returned"]


async def test_the_latest_map_stands_whatever_arrives_last(service, session, clock, learner) -> None:
    await consume(session, programme(version=3, ceiling=90), programme(version=2, ceiling=75))
    held = await session.get(Programme, PROGRAMME)
    assert (held.version, held.ceiling_credits) == (3, 90)
    lost_and_drawn_anew = programme(version=2, ceiling=45, published_at=BEFORE + timedelta(days=1))
    await consume(session, lost_and_drawn_anew, programme(version=4, ceiling=30))
    await session.refresh(held)
    assert (held.version, held.ceiling_credits) == (2, 45)


async def test_requests_to_nowhere_or_of_nothing_are_refused(service, session, clock, learner) -> None:
    assert (await request(service, learner, "DS01", programme_id=str(new_id()))).status_code == 404
    assert (await request(service, learner)).json()["code"] == "invalid_request"
    stranger = new_id()
    refused = await request(service, stranger, "DS01", credit_ids=ids(learner, "DS01"))
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_credit")


def test_a_mapping_counts_on_its_days_only() -> None:
    module = {
        "course_version_id": str(named("version", "DS01")),
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2027-01-01T00:00:00Z",
    }
    version = named("version", "DS01")
    for at, found in (
        (datetime(2025, 12, 31, tzinfo=UTC), None),
        (datetime(2026, 1, 1, tzinfo=UTC), module),
        (datetime(2027, 1, 1, tzinfo=UTC), None),
    ):
        assert suggestion([module], version, at) is found
    assert suggestion([module], None, datetime(2026, 6, 1, tzinfo=UTC)) is None
