"""Records that were lost: what is announced anew is the same badge, and what nobody knows is not called valid."""

from uuid import UUID

import orjson
import pytest
from sqlalchemy import delete, select

from credentials.commands import projection
from credentials.tables.facts import Credit
from credentials.tables.issued import AssignedStatusEntry, Badge
from shared.database import advisory_lock
from shared.ids import new_id
from shared.messaging import RetryLater

from .announcements import DS, consume, course, credit, let_time_work, revoked
from .verifying import issued


async def lose(session, badge_id: str) -> None:
    """As on a copy of before it was ordered."""
    for table in (Badge, AssignedStatusEntry):
        await session.execute(delete(table).where(table.badge_id == UUID(badge_id)))
    session.expire_all()


async def verified(service, document: bytes) -> dict:
    async with service.client() as anyone:
        return (await anyone.post("/v1/verifications", content=document)).json()


async def test_a_badge_of_ours_without_a_row_is_not_valid(service, session, clock) -> None:
    badge_id, document = await issued(service, session, new_id())
    assert (await verified(service, document))["status"] == "valid"
    await lose(session, badge_id)
    answer = await verified(service, document)
    assert (answer["status"], answer["verified"]) == ("unconfirmed", False)
    assert [check["code"] for check in answer["checks"] if check["name"] == "revocation"] == ["not_recorded"]


async def test_a_badge_that_was_lost_is_ordered_as_the_same_and_revoked_with_it(service, session, clock) -> None:
    learner = new_id()
    badge_id, document = await issued(service, session, learner)
    row = select(Badge.badge_id, Badge.list_number, Badge.list_index, Badge.subject)
    before = (await session.execute(row)).one()
    await lose(session, badge_id)
    await advisory_lock(session, "learner", learner)
    await projection.rebuild(session, learner)
    await let_time_work(service)
    assert (await session.execute(row)).one() == before
    await consume(session, revoked(learner, "DS01"))
    assert (await verified(service, document))["status"] == "revoked"


async def test_a_badge_that_is_only_signed_anew_is_not_called_corrected(service, session, clock) -> None:
    learner = new_id()
    badge_id, document = await issued(service, session, learner)
    await lose(session, badge_id)
    clock.advance(days=1)
    await advisory_lock(session, "learner", learner)
    await projection.rebuild(session, learner)
    await let_time_work(service)
    async with service.client() as anyone:
        anew = (await anyone.get(f"/credentials/{badge_id}")).json()
    assert anew["validFrom"] != orjson.loads(document)["validFrom"]
    answer = await verified(service, document)
    assert (answer["status"], answer["verified"], answer["newer"]) == ("valid", True, None)
    assert "signed anew" in str([check["detail"] for check in answer["checks"] if check["name"] == "version"])


async def test_an_enrolment_earns_its_credit_once_until_that_was_revoked(service, session, clock) -> None:
    learner = new_id()
    first = credit(learner, "DS01", DS)
    again = first.model_copy(update={"credit_id": new_id(), "submission_id": new_id()})
    await consume(session, course("DS01", DS), first)
    with pytest.raises(RetryLater, match=str(first.credit_id)):
        await consume(session, again)
    await consume(session, first, revoked(learner, "DS01"), again)
    credits_ = await session.scalars(select(Credit.credit_id).where(Credit.learner_id == learner))
    assert set(credits_) == {first.credit_id, again.credit_id}


async def test_a_revocation_of_unknown_credit_is_not_passed_over_while_its_enrolment_has_other_credit(
    service, session, clock
) -> None:
    """Assessment was restored and has awarded it anew: what stands here is not what it revokes."""
    learner = new_id()
    first = credit(learner, "DS01", DS)
    again = first.model_copy(update={"credit_id": new_id(), "submission_id": new_id()})
    taken = revoked(learner, "DS01").model_copy(
        update={"credit_id": again.credit_id, "enrolment_id": first.enrolment_id}
    )
    await consume(session, course("DS01", DS), first)
    with pytest.raises(RetryLater, match=str(first.credit_id)):
        await consume(session, taken)
    await consume(session, revoked(learner, "DS01"))  # by a person's word, with the id that stands here
    await consume(session, again, taken)
    left = select(Badge.badge_id).where(Badge.learner_id == learner, Badge.revoked_at.is_(None))
    assert (await session.scalars(left)).all() == []
