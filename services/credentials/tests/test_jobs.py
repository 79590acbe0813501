"""What the clock does: signs, publishes, lets reservations lapse."""

from datetime import datetime

import orjson
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select

from credentials import jobs
from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import awards
from credentials.commands import keys as commands
from credentials.commands.status_lists import open_next_list
from credentials.domain.awards import ClaimLapsed
from credentials.tables.awards import Allocation, Award
from credentials.tables.issued import Badge, StatusList
from credentials.tables.keys import SigningKey
from openbadges import status_lists
from openbadges.status_lists import is_set
from shared.due_times import bring_forward
from shared.events.credentials import AwardLapsed
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging.tables import SetAside
from shared.secret_box import SecretBox, SecretBoxError
from shared.testing.services import published

from .announcements import consume, hold_credit, let_time_work, named, revoked, work_of

TITLE = "PGCert in Data Science"


async def test_a_reservation_that_runs_out_frees_its_credit(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    award = await awards.claim_award(session, learner, "pgcert", TITLE, None)
    clock.advance(minutes=29)
    await let_time_work(service)
    await session.refresh(award)
    assert award.state == "claimed"
    clock.advance(minutes=1)
    await let_time_work(service)
    await session.refresh(award)
    assert award.state == "lapsed"
    assert AwardLapsed(award_id=award.award_id, learner_id=learner, lapsed_at=clock()) in await published(session)
    with pytest.raises(ClaimLapsed):
        await awards.confer_award(session, award.award_id, by=new_id())
    again = await awards.claim_award(session, learner, "pgcert", TITLE, None)
    assert again.award_id != award.award_id


async def test_a_reservation_of_a_clock_that_stood_ahead_ends_when_the_clock_is_right(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    clock.advance(days=2)
    award = await awards.claim_award(session, learner, "pgcert", TITLE, None)
    await session.flush()
    clock.advance(days=-2)
    await bring_forward(service.process.database, service.service.due_times)
    await let_time_work(service)
    await session.refresh(award)
    assert award.state == "lapsed"


async def test_a_lapsed_reservation_frees_its_credit_before_the_clock_says_so(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await awards.claim_award(session, learner, "pgcert", TITLE, None)
    clock.advance(minutes=30)
    await awards.claim_award(session, learner, "pgcert", TITLE, None)
    live = select(func.count()).select_from(Allocation).where(Allocation.live)
    assert await session.scalar(live) == 4


async def test_the_database_itself_allots_a_credit_once_a_level(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    first = await awards.claim_award(session, learner, "pgcert", TITLE, None)
    second = Award(
        **{column.key: getattr(first, column.key) for column in Award.__table__.columns} | {"award_id": new_id()}
    )
    session.add(second)
    await session.flush()
    session.add(
        Allocation(award_id=second.award_id, credit_id=named("credit", learner, "DS01"), level="pgcert", live=True)
    )
    with pytest.raises(Exception, match="uq_allocations_credit_id_level"):
        await session.flush()
    await session.rollback()


async def publish(service) -> datetime | None:
    """One round of the job; when the first list was signed."""
    await jobs.publish_status_lists(work_of(service))
    async with service.process.database.transaction() as session:
        return (await session.get(StatusList, 1, populate_existing=True)).signed_at


async def test_a_list_is_signed_only_when_it_must_be(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=2)
    first = await publish(service)
    clock.advance(seconds=15)
    assert await publish(service) == first
    await consume(session, revoked(learner, "DS02"))
    assert await publish(service) == clock()
    badge = (await session.scalars(select(Badge).where(Badge.credit_id == named("credit", learner, "DS02")))).one()
    document = orjson.loads((await session.get(StatusList, 1, populate_existing=True)).document)
    assert is_set(document["credentialSubject"]["encodedList"], badge.list_index)
    clock.advance(hours=23)
    assert await publish(service) < clock()
    clock.advance(hours=1)
    assert await publish(service) == clock()


async def test_a_half_full_list_gives_way_to_the_next(service, session, clock, monkeypatch) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=2)
    monkeypatch.setattr(status_lists, "LENGTH", 4)
    await open_next_list(session)
    await hold_credit(session, learner, MG=1)
    badge = (await session.scalars(select(Badge).where(Badge.credit_id == named("credit", learner, "MG01")))).one()
    assert badge.list_number == 2


async def test_a_full_list_is_logged(service, session, clock, monkeypatch) -> None:
    monkeypatch.setattr(status_lists, "LENGTH", 1)
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    with pytest.raises(RuntimeError, match="list is full"):
        await hold_credit(session, learner, DS=2)


async def test_the_private_key_is_not_in_the_database_in_clear(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    stranger = CredentialIssuer("https://badges.example.ac.uk", "Somebody else", SecretBox(bytes(32)))
    keys = (await session.scalars(select(SigningKey))).all()
    assert sorted(key.suite for key in keys) == ["ES256", "eddsa-rdfc-2022"]
    for key in keys:
        with pytest.raises(SecretBoxError):
            stranger.signer(key.verification_method, key.wrapped_key, key.suite)
        assert len(key.wrapped_key) >= 12 + 32 + 16


async def test_a_wrapping_key_that_opens_no_signing_key_is_said_loudly_until_the_keys_are_struck_out(
    service, session, clock, caplog
) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    work = work_of(service)
    await jobs.watch_signing_keys(work)
    assert REGISTRY.get_sample_value("signing_keys_unreadable") == 0
    ours = work.resource(CredentialIssuer)
    lost = CredentialIssuer(ours.url, ours.issuer.name, SecretBox(bytes(32)))
    with_another = Work(work.database, {**work.resources, CredentialIssuer: lost})
    await jobs.watch_signing_keys(with_another)
    assert REGISTRY.get_sample_value("signing_keys_unreadable") == 2
    assert "MC_WRAPPING_KEY does not open the signing keys" in caplog.text
    await hold_credit(session, learner, DS=2)
    await jobs.sign_badges(with_another)
    said = (await session.scalars(select(SetAside.last_error).where(SetAside.job == "sign_badges"))).all()
    names = [key.verification_method.rpartition("#")[2] for key in await session.scalars(select(SigningKey))]
    assert said
    assert all("another MC_WRAPPING_KEY" in one and any(f"{name}/compromise" in one for name in names) for one in said)
    for name in names:
        await commands.report_compromise(session, lost, name, by="ada", reason="the wrapping key is lost")
    await jobs.watch_signing_keys(with_another)
    assert REGISTRY.get_sample_value("signing_keys_unreadable") == 0
    await jobs.sign_anew(with_another)
    clock.advance(hours=1)
    await jobs.sign_badges(with_another)
    made = set(await session.scalars(select(Badge.signed_with).execution_options(populate_existing=True)))
    assert made.isdisjoint({lost.verification_method(name) for name in names})
