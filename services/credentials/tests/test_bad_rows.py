"""Jobs whose work fails for one row: the others go on, and a person sees that one."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from credentials import jobs
from credentials.commands import awards, emails, issuing, people, reports, status_lists
from credentials.commands.status_lists import open_next_list
from credentials.exchange.commands import transfers, webhooks
from credentials.tables.facts import Pin
from credentials.tables.issued import Badge, StatusList
from credentials.tables.partners import WebhookDelivery, WebhookEndpoint, WebhookSecret
from credentials.tables.people import Person
from credentials.tables.reports import RegulationReport
from credentials.tables.transfers import Transfer
from openbadges import status_lists as bitstrings
from shared import telemetry
from shared.events.credentials import AwardLapsed
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging.epochs import START
from shared.messaging.tables import Outgoing, QueuedEmail, SetAside
from shared.secret_box import SecretBox
from shared.testing.services import published

from .announcements import activated, consume, hold_credit, let_time_work, work_of
from .degrees import programme, request
from .deliveries import MANAGES, register
from .regulation_reports import URL, candidate, report_on
from .shares import P, Q, know
from .webhook_receivers import partner_server


def failing(real, bad):
    """The command as it is, which fails in the database where `bad` says so."""

    async def command(session, *arguments, **options):
        result = await real(session, *arguments, **options)
        if bad(*arguments, **options):
            await session.flush()
            await session.execute(text("select 1 / 0"))
        return result

    return command


async def aside(session):
    return [(row.job, row.row_key) for row in await session.scalars(select(SetAside))]


async def two_learners(session, count=4):
    learners = sorted((new_id(), new_id()))
    for learner in learners:
        await hold_credit(session, learner, DS=count)
    return learners


async def test_a_person_who_cannot_be_stored(service, session, clock, monkeypatch) -> None:
    bad, good = await two_learners(session, 1)
    real = people.store_person
    monkeypatch.setattr(people, "store_person", failing(real, lambda entry, **_: entry.learner_id == bad))
    await jobs.read_people(work_of(service))
    assert (await session.scalars(select(Person.learner_id))).all() == [good]
    assert await aside(session) == [("read_people", str(bad))]


async def test_a_badge_that_cannot_be_signed(service, session, clock, monkeypatch) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=3)
    await jobs.read_people(work_of(service))
    bad, *good = (await session.scalars(select(Badge.badge_id).order_by(Badge.badge_id))).all()
    real = issuing._sign

    def sign(one, *rest):
        if one.badge.badge_id == bad:
            raise ZeroDivisionError
        return real(one, *rest)

    monkeypatch.setattr(issuing, "_sign", sign)
    await jobs.sign_badges(work_of(service))
    signed = select(Badge.badge_id).where(Badge.document.is_not(None)).order_by(Badge.badge_id)
    assert (await session.scalars(signed)).all() == good
    assert await aside(session) == [("sign_badges", str(bad))]


async def test_a_status_list_that_cannot_be_signed(service, session, clock, monkeypatch) -> None:
    await hold_credit(session, new_id(), DS=2)
    monkeypatch.setattr(bitstrings, "LENGTH", 4)
    await open_next_list(session)
    await session.commit()
    monkeypatch.undo()
    real = status_lists.sign_list

    def sign(one, *rest):
        if one.number == 1:
            raise ZeroDivisionError
        return real(one, *rest)

    monkeypatch.setattr(status_lists, "sign_list", sign)
    await jobs.publish_status_lists(work_of(service))
    session.expire_all()
    signed = select(StatusList.number).where(StatusList.token.is_not(None))
    assert (await session.scalars(signed)).all() == [2]
    assert await aside(session) == [("publish_status_lists", "1")]


async def test_a_status_list_with_a_place_outside_it(service, session, clock, monkeypatch) -> None:
    await hold_credit(session, new_id(), DS=2)
    monkeypatch.setattr(bitstrings, "LENGTH", 4)
    await open_next_list(session)
    monkeypatch.undo()
    await session.execute(
        text(
            "insert into badge_places (list_number, list_index, badge_id, version, retired_at) "
            "values (1, 99999999, :badge, 1, now())"
        ),
        {"badge": new_id()},
    )
    await session.commit()
    await jobs.publish_status_lists(work_of(service))
    session.expire_all()
    signed = select(StatusList.number).where(StatusList.token.is_not(None))
    assert (await session.scalars(signed)).all() == [2]
    assert await aside(session) == [("publish_status_lists", "1")]


async def test_a_position_in_the_log_that_is_none_stops_no_partners_news(live, clock, monkeypatch) -> None:
    database, work, notified = live.process.database, work_of(live), []

    async def notify(session, event_id, event):
        notified.append(event)

    monkeypatch.setattr(webhooks, "notify_partners", notify)
    async with database.transaction() as session:
        await webhooks.move_on(session, "written by hand")
        await know(session, P)
        await hold_credit(session, new_id(), DS=1)
    counted = telemetry.cursors_unreadable.labels("webhooks")._value.get()
    await jobs.read_people(work)
    await jobs.sign_badges(work)
    for _ in range(50):  # an event is read once no earlier commit can be under way
        await jobs.notify_partners(work)
        if notified:
            break
        await asyncio.sleep(0.1)
    assert notified
    async with database.transaction() as session:
        assert await webhooks.position(session) not in {START, "written by hand"}
    assert telemetry.cursors_unreadable.labels("webhooks")._value.get() == counted + 1


async def test_an_entry_of_the_log_that_is_no_event(live, clock) -> None:
    database = live.process.database
    async with database.transaction() as session:
        await know(session, P)
        bad = new_id()
        session.add(Outgoing(id=bad, type=webhooks.ANNOUNCED_TYPES[0], partition_key="x", body='{"a'))
    work = work_of(live)
    for _ in range(50):  # an event is read once no earlier commit can be under way
        await jobs.notify_partners(work)
        async with database.transaction() as session:
            if await aside(session):
                break
        await asyncio.sleep(0.1)
    await jobs.notify_partners(work)
    async with database.transaction() as session:
        assert await aside(session) == [("notify_partners", str(bad))]
        moved = await webhooks.position(session)
    learner = new_id()
    async with database.transaction() as session:
        await hold_credit(session, learner, DS=1)
    await jobs.read_people(work)
    await jobs.sign_badges(work)
    for _ in range(50):
        await jobs.notify_partners(work)
        async with database.transaction() as session:
            if await webhooks.position(session) != moved:
                break
        await asyncio.sleep(0.1)
    live.clock.at += timedelta(minutes=1)
    await jobs.notify_partners_again(work)
    async with database.transaction() as session:
        assert await webhooks.position(session) != moved
        assert await aside(session) == [("notify_partners", str(bad))]


async def test_a_delivery_to_what_is_no_address(service, session, clock) -> None:
    await know(session, P, Q)
    async with partner_server() as bad, partner_server() as good:
        for client_id, partner in ((P, bad), (Q, good)):
            endpoint = await register(service, partner.url, client_id)
            async with service.client(client_id=client_id, scopes=MANAGES) as client:
                await client.post(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}/pings")
            if client_id == P:
                of_it = WebhookEndpoint.endpoint_id == endpoint["endpoint_id"]
                await session.execute(update(WebhookEndpoint).where(of_it).values(url="https://[bad/x"))
        await jobs.send_webhooks(Work(service.process.database, service.service.resources))
        assert (len(bad.got), len(good.got)) == (0, 1)
        tries = select(WebhookDelivery.tries).order_by(WebhookDelivery.tries)
        assert (await session.scalars(tries)).all() == [1, 1]


async def test_an_email_that_cannot_be_queued(service, session, clock, monkeypatch) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    for about in ("bad", "good"):
        await emails.enqueue(session, learner, kind="k", about=about, subject="s", paragraphs=["p"])
    await session.flush()
    real = emails.enqueue_email
    monkeypatch.setattr(emails, "enqueue_email", failing(real, lambda **notified: notified["about"].endswith("bad")))
    await jobs.queue_emails(work_of(service))
    assert (await session.scalars(select(QueuedEmail.about).where(QueuedEmail.kind == "k"))).all() == [
        f"{learner} good"
    ]
    [(job, _)] = await aside(session)
    assert job == "queue_emails"


async def test_a_claim_that_cannot_lapse(service, session, clock, monkeypatch) -> None:
    bad, good = await two_learners(session)
    for learner in (bad, good):
        await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    clock.advance(minutes=30)
    monkeypatch.setattr(awards, "lapse_claims", failing(awards.lapse_claims, lambda learner_id: learner_id == bad))
    await jobs.lapse_claims(work_of(service))
    assert [one.learner_id for one in await published(session) if isinstance(one, AwardLapsed)] == [good]
    assert await aside(session) == [("lapse_claims", str(bad))]


async def test_a_transfer_that_cannot_end(service, session, clock, monkeypatch) -> None:
    learners = await two_learners(session, 1)
    await let_time_work(service)
    await know(session, P, Q)
    await consume(session, programme())
    bad, good = [(await request(service, learner, "DS01")).json()["transfer_id"] for learner in learners]
    clock.advance(days=60)
    real = transfers.end_overdue
    monkeypatch.setattr(transfers, "end_overdue", failing(real, lambda transfer_id: str(transfer_id) == bad))
    await jobs.end_overdue_transfers(work_of(service))
    session.expire_all()
    lapsed = select(Transfer.transfer_id).where(Transfer.state == "lapsed")
    assert [str(one) for one in await session.scalars(lapsed)] == [good]
    assert await aside(session) == [("end_overdue_transfers", bad)]


async def test_a_report_that_cannot_go_on(service, session, clock, monkeypatch) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    wanted = [await reports.request_report(session, None, candidate(), by=new_id()) for _ in range(2)]
    await session.flush()
    bad = min(one.report_id for one in wanted)
    real = reports.go_on_with_report
    monkeypatch.setattr(reports, "go_on_with_report", failing(real, lambda report_id, **_: report_id == bad))
    await jobs.report_on_regulations(work_of(service))
    session.expire_all()
    unfinished = select(RegulationReport.report_id).where(RegulationReport.finished_at.is_(None))
    assert (await session.scalars(unfinished)).all() == [bad]
    assert await aside(session) == [("report_on_regulations", str(bad))]


async def test_a_learner_who_cannot_be_compared_holds_up_no_report(service, session, clock) -> None:
    """As one who enrolled under a version that only the release after this one knows."""
    learners = sorted(new_id() for _ in range(5))
    for learner in learners:
        await consume(session, activated(learner, "mc-regs-2026.2"))
        await hold_credit(session, learner, DS=5, MG=3)
    pins = update(Pin).where(Pin.learner_id == learners[2])
    await session.execute(pins.values(regulations_version="mc-regs-2027.1"))
    async with service.client("registrar") as office:
        report = await report_on(service, office, candidate(version="mc-regs-2027.2"))
        assert report["finished_at"] is not None
        assert (report["learners"], report["compared"], report["not_compared"], report["affected"]) == (5, 4, 1, 4)
        assert await aside(session) == [("compare_learner", f"{report['report_id']} {learners[2]}")]
        clock.advance(minutes=2)
        await jobs.compare_again(work_of(service))  # in vain
        [row] = await session.scalars(select(SetAside))
        assert row.failures == 2
        await session.execute(pins.values(regulations_version="mc-regs-2026.2"))
        clock.advance(minutes=10)
        await jobs.compare_again(work_of(service))
        report = (await office.get(f"{URL}/{report['report_id']}")).json()
        lines = (await office.get(f"{URL}/{report['report_id']}/learners")).json()["items"]
    assert (report["compared"], report["not_compared"], report["affected"]) == (5, 0, 5)
    assert [line["learner_id"] for line in lines] == [str(learner) for learner in learners]
    assert await aside(session) == []


@pytest.mark.parametrize("when", ["before it is recorded", "after"])
async def test_whoever_is_counted_as_not_compared_is_set_aside_whenever_the_process_ends(
    service, session, monkeypatch, when
) -> None:
    learner = new_id()
    await consume(session, activated(learner, "mc-regs-2026.2"))
    await hold_credit(session, learner, DS=5, MG=3)
    pins = update(Pin).where(Pin.learner_id == learner)
    await session.execute(pins.values(regulations_version="mc-regs-2027.1"))
    report = await reports.request_report(session, None, candidate(version="mc-regs-2027.2"), by=new_id())
    await session.flush()
    real = jobs.set_aside

    class Killed(BaseException):
        pass

    async def killed(*arguments) -> None:
        if when == "after":
            await real(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "set_aside", killed)
        with pytest.raises(Killed):
            await jobs.report_on_regulations(work_of(service))
    await session.refresh(report)
    assert (report.not_compared, await aside(session)) == (0, [])
    await jobs.report_on_regulations(work_of(service))
    await session.refresh(report)
    assert (report.not_compared, report.finished_at is None) == (1, False)
    assert await aside(session) == [("compare_learner", f"{report.report_id} {learner}")]


async def test_a_learner_whom_another_replica_has_compared_is_not_set_aside(service, session, monkeypatch) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=5, MG=3)
    report = await reports.request_report(session, None, candidate(version="mc-regs-2027.2"), by=new_id())
    await session.flush()
    compare, go_past = reports.compare_next, reports.go_past

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    async def too_late(*arguments) -> bool:
        await compare(*arguments)
        return await go_past(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(reports, "compare_next", fail)
        patched.setattr(reports, "go_past", too_late)
        await jobs._compare_one_by_one(work_of(service), report.report_id)
    await session.refresh(report)
    assert (report.compared, report.not_compared, await aside(session)) == (1, 0, [])


async def test_a_report_that_can_compare_nobody_is_set_aside_itself(service, session, clock) -> None:
    await hold_credit(session, new_id(), DS=1)
    report = await reports.request_report(session, None, candidate(), by=new_id())
    report.document = None  # of the release after this one
    await session.flush()
    await jobs.report_on_regulations(work_of(service))
    assert await aside(session) == [("report_on_regulations", str(report.report_id))]


async def test_an_event_of_which_partners_cannot_be_notified(live, clock, monkeypatch) -> None:
    """It is gone past, and come back to."""
    database = live.process.database
    async with database.transaction() as session:
        await know(session, P)
    learners = sorted((new_id(), new_id()))
    for learner in learners:
        async with database.transaction() as session:
            await hold_credit(session, learner, DS=1)
    work = work_of(live)
    await jobs.read_people(work)
    await jobs.sign_badges(work)
    notified, real, broken = [], webhooks.notify_partners, True

    async def notify(session, event_id, event):
        if event.learner_id == learners[0] and broken:
            await session.execute(text("select 1 / 0"))
        notified.append(event.learner_id)
        await real(session, event_id, event)

    monkeypatch.setattr(webhooks, "notify_partners", notify)
    for _ in range(50):  # an event is sent once no earlier commit can be under way
        await jobs.notify_partners(work)
        if notified:
            break
        await asyncio.sleep(0.1)
    await jobs.notify_partners(work)
    assert set(notified) == {learners[1]}
    async with database.transaction() as session:
        assert [job for job, _ in await aside(session)] == ["notify_partners"]
    broken = False
    live.clock.at += timedelta(minutes=1)
    await jobs.notify_partners_again(work)
    assert set(notified) == set(learners)
    async with database.transaction() as session:
        assert await aside(session) == []


async def test_a_delivery_whose_secret_cannot_be_read(service, session, clock) -> None:
    await know(session, P, Q)
    async with partner_server() as bad, partner_server() as good:
        for client_id, partner in ((P, bad), (Q, good)):
            endpoint = await register(service, partner.url, client_id)
            if client_id == P:
                await session.execute(
                    update(WebhookSecret)
                    .where(WebhookSecret.endpoint_id == endpoint["endpoint_id"])
                    .values(wrapped=b"x" * 40)
                )
            async with service.client(client_id=client_id, scopes=MANAGES) as client:
                await client.post(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}/pings")
        work = Work(service.process.database, service.service.resources)
        assert isinstance(work.resource(SecretBox), SecretBox)
        await jobs.send_webhooks(work)
        assert (len(bad.got), len(good.got)) == (0, 1)
        [(job, _)] = await aside(session)
        assert job == "send_webhooks"
