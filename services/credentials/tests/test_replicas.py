"""Several processes of this service on one database: a page kept by one reports what another wrote."""

from typing import cast
from uuid import UUID

import pytest
from sqlalchemy import select, text

from credentials.app import build
from credentials.commands import issuing
from credentials.queries.issued import badge_revision
from credentials.settings import Settings
from credentials.tables.issued import Badge
from openbadges.verification.verifier import Verifier
from shared.ids import new_id
from shared.testing.services import ServiceUnderTest

from .announcements import consume, hold_credit, let_time_work, revoked
from .reviews import decide, hold_award, review_of


@pytest.fixture
def learner() -> UUID:
    return new_id()


@pytest.fixture
async def badge_id(service, session, learner) -> UUID:
    """Of an award."""
    await hold_credit(session, learner, DS=4)
    award = await hold_award(session, learner)
    await let_time_work(service)
    found = await session.scalar(select(Badge.badge_id).where(Badge.award_id == award.award_id))
    assert found is not None
    return found


@pytest.fixture
def replica(service, session, clock) -> ServiceUnderTest:
    """Another process, in the same transaction of the test."""
    other = ServiceUnderTest(build(cast("Settings", service.service.settings)), clock)
    for name in ("requests", "reads", "messages", "driver", "finds"):
        setattr(other.process.database, name, getattr(service.process.database, name))
    return other


async def revoke(service, session, clock, learner, badge_id) -> None:
    await issuing.revoke_badge(session, await session.get(Badge, badge_id), "misconduct", clock())
    await session.flush()


async def rescind(service, session, clock, learner, badge_id) -> None:
    await consume(session, revoked(learner, "DS04"))
    async with service.client("registrar") as office:
        assert (await decide(office, await review_of(office), "rescind")).status_code == 201


@pytest.mark.parametrize("end", [revoke, rescind])
async def test_what_was_taken_back_is_valid_on_no_page_of_any_process(
    service, replica, session, clock, learner, badge_id, monkeypatch, end
) -> None:
    path = f"/verify/{badge_id}"
    async with service.client() as one, replica.client() as other:
        before = [(await client.get(path)).text for client in (one, other)]
        with monkeypatch.context() as patch:
            patch.setattr(Verifier, "verify_own", None)
            assert [(await client.get(path)).text for client in (one, other)] == before, "from memory"
        await end(service, session, clock, learner, badge_id)
        after = [await client.get(path) for client in (one, other)]
    assert all("<strong>Valid</strong>" in page for page in before)
    assert all("<strong>Revoked</strong>" in page.text for page in after)
    assert {page.headers["cache-control"] for page in after} == {"public, max-age=0"}


WRITES = [
    "update badges set revoked_at = now() where badge_id = :badge_id",
    "update badges set version = version + 1 where badge_id = :badge_id",
    "update badge_places set retired_at = now() where badge_id = :badge_id",
    "update awards set superseded_by = null where award_id = (select award_id from badges where badge_id = :badge_id)",
    "update signing_keys set compromised_at = now() + interval '1 day' where :badge_id is not null",
]


@pytest.mark.parametrize("write", WRITES)
async def test_whatever_a_page_tells_of_changes_its_revision(service, session, badge_id, write) -> None:
    database = service.process.database
    before = await badge_revision(database, badge_id)
    assert before == await badge_revision(database, badge_id)
    changed = await session.execute(text(write.replace(":badge_id", "cast(:badge_id as uuid)")), {"badge_id": badge_id})
    assert changed.rowcount
    assert await badge_revision(database, badge_id) != before
