"""All the money back, and the award kept? Credit whose money went back is held, and what stands on it is reviewed."""

import itertools
from datetime import timedelta

import pytest
from sqlalchemy import delete, select

from credentials.commands.projection import differing, rebuild
from credentials.commands.rebuild import differences
from credentials.tables.awards import CreditHold, PendingEmail
from credentials.tables.issued import Badge
from shared.events.credentials import AwardEligibilityChanged, AwardReviewClosed, AwardReviewOpened
from shared.events.payments import PaymentRestored
from shared.ids import new_id
from shared.testing.services import published

from .announcements import BEFORE, cancelled, consume, credit, hold_credit, named, registered, reversed_payment, revoked
from .degrees import act, decision, request
from .reviews import CLAIM, TITLE, decide, hold_award, review_of


async def release(service, who, code="DS01", *, by=None, reason="goodwill"):
    async with service.client("registrar", id=by or new_id()) as office:
        path = f"/v1/credit-holds/{named('credit', who, code)}/release"
        return await office.post(path, json={"reason_code": reason})


def lost(who, code):
    """The order's money is gone, and comes again later; the enrolment ended for want of it in between."""
    order_id = named("order", who, code)
    gone = reversed_payment(who).model_copy(update={"order_id": order_id})
    back = PaymentRestored(
        order_id=order_id, payment_id=new_id(), learner_id=who, restored_at=BEFORE + timedelta(days=30)
    )
    return gone, cancelled(who, code, "payment_lost"), back


async def emailed(session, kind):
    return list(await session.scalars(select(PendingEmail.subject).where(PendingEmail.kind == kind)))


async def statuses(own):
    return {one["course_code"]: one["status"] for one in (await own.get("/v1/credits")).json()["items"]}


async def test_a_conferred_award_whose_money_went_back_is_reviewed_and_its_credit_held(service, session, clock) -> None:
    who = new_id()
    await hold_credit(session, who, DS=4)
    award = await hold_award(session, who)
    await consume(session, *(cancelled(who, f"DS0{n}") for n in range(1, 5)))
    async with service.client("learner", id=who) as own, service.client("registrar") as office:
        review = await review_of(own)
        assert set(review["proposal"]["lost"]) == {str(named("credit", who, f"DS0{n}")) for n in range(1, 5)}
        assert review["proposal"]["decision"] == "rescind"
        assert set((await statuses(own)).values()) == {"held"}
        excluded = (await own.get("/v1/award-options/outlook")).json()["excluded"]
        assert {one["reason"] for one in excluded} == {"held"}
        waiting = (await office.get("/v1/credit-holds")).json()["items"]
        assert [one["reason_code"] for one in waiting if one["learner_id"] == str(who)] == ["refunded"] * 4
        assert len(await emailed(session, "credit_held")) == 4
        assert {one.revoked_at for one in await session.scalars(select(Badge))} == {None}
        decided = await decide(office, review, "rescind", reason_code="refunded")
        assert (decided.status_code, decided.json()["state"]) == (201, "rescinded")
        assert (await own.get(f"/v1/awards/{award.award_id}")).json()["state"] == "rescinded"


async def test_that_credit_is_held_is_emailed_once_also_after_the_email_has_gone(service, session, clock) -> None:
    who = new_id()
    await hold_credit(session, who, DS=1)
    await consume(session, cancelled(who, "DS01"))
    assert len(await emailed(session, "credit_held")) == 1
    await session.execute(delete(PendingEmail))
    await rebuild(session, who)
    assert await emailed(session, "credit_held") == []


async def test_held_credit_is_neither_conferred_on_nor_claimed_before_it_is_released(service, session, clock) -> None:
    who = new_id()
    await hold_credit(session, who, DS=4)
    async with service.client("learner", id=who) as own, service.client("registrar") as office:
        claim = (await own.post("/v1/award-claims", json=CLAIM)).json()
        await consume(session, cancelled(who, "DS01"))
        held = await office.post(f"/v1/award-claims/{claim['award_id']}/conferral")
        assert (held.status_code, held.json()["code"]) == (409, "under_review")
        assert await emailed(session, "claim_held") == [f"Your claim for {TITLE} is held"]
        (await own.post(f"/v1/award-claims/{claim['award_id']}/withdrawal")).raise_for_status()
        refused = await own.post("/v1/award-claims", json=CLAIM)
        assert (refused.status_code, refused.json()["code"]) == (409, "not_eligible")
        assert (await release(service, who)).status_code == 200
        assert (await own.post("/v1/award-claims", json=CLAIM)).status_code == 201
        assert len(await emailed(session, "credit_released")) == 1


async def test_a_release_ends_the_review_and_is_made_once_by_another_than_who_gave_the_money_back(
    service, session, clock
) -> None:
    who, finance = new_id(), new_id()
    await hold_credit(session, who, DS=4)
    await hold_award(session, who)
    await consume(session, cancelled(who, "DS01", decided_by=str(finance)))
    async with service.client("learner", id=who) as own, service.client("registrar", id=finance) as same:
        refused = await decide(same, await review_of(own), "rescind", reason_code="refunded")
        assert (refused.status_code, refused.json()["code"]) == (403, "own_refund")
        refused = await release(service, who, by=finance)
        assert (refused.status_code, refused.json()["code"]) == (403, "own_refund")
        released = await release(service, who, reason="complaint")
        assert (released.status_code, released.json()["release_reason"]) == (200, "complaint")
        assert (await own.get("/v1/award-reviews", params={"waiting": True})).json()["items"] == []
        again = await release(service, who)
        assert (again.status_code, again.json()["code"]) == (409, "hold_ended")
        await consume(session, cancelled(who, "DS01", decided_by=str(finance)))
        assert (await statuses(own))["DS01"] == "ratified", "and stays so, whatever arrives twice"
        ended = (await same.get("/v1/credit-holds", params={"open": False})).json()["items"]
        assert [one["release_reason"] for one in ended] == ["complaint"]
    closed = [one.decision for one in await published(session) if isinstance(one, AwardReviewClosed)]
    assert closed == ["credit_reinstated"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_money_that_is_there_again_releases_by_itself_whatever_arrives_first(
    service, session, clock, order
) -> None:
    who = new_id()
    await hold_credit(session, who, DS=4)
    await hold_award(session, who)
    words = lost(who, "DS01")
    for n in order:
        await consume(session, words[n], words[n])
    async with service.client("learner", id=who) as own:
        assert (await statuses(own))["DS01"] == "ratified"
        assert (await own.get("/v1/award-reviews", params={"waiting": True})).json()["items"] == []
    if order == (0, 1, 2):
        assert len([one for one in await published(session) if isinstance(one, AwardReviewOpened)]) == 1
        assert len(await emailed(session, "credit_released")) == 1
        (hold,) = await session.scalars(select(CreditHold))
        assert (hold.release_reason, hold.released_by) == ("money_restored", None)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_money_that_came_again_and_was_then_given_back_holds_whatever_arrives_first(
    service, session, clock, order
) -> None:
    who, finance = new_id(), new_id()
    await hold_credit(session, who, DS=4)
    at = BEFORE + timedelta(days=60)
    granted = cancelled(who, "DS01", decided_by=str(finance), sequence=4, cancelled_at=at)
    words = [*lost(who, "DS01"), granted]
    for n in order:
        await consume(session, words[n], words[n])
    (hold,) = await session.scalars(select(CreditHold))
    assert (hold.reason_code, hold.refund_by, hold.released_at) == ("refunded", str(finance), None)
    async with service.client("learner", id=who) as own:
        assert (await statuses(own))["DS01"] == "held"
    assert (await release(service, who, by=finance)).json()["code"] == "own_refund"
    assert len(await emailed(session, "credit_held")) == 1 + len(await emailed(session, "credit_released"))
    assert (await release(service, who)).status_code == 200
    await consume(session, *words)
    assert [one.released_by is None for one in await session.scalars(select(CreditHold))] == [False]


@pytest.mark.parametrize("reason", ["refunded", "payment_lost", "withdrawn"])
@pytest.mark.parametrize("credit_first", [True, False])
async def test_whichever_arrives_first_the_credit_or_the_end_of_its_enrolment(
    service, session, clock, reason, credit_first
) -> None:
    who = new_id()
    words = [credit(who, "DS01", "Data Science"), cancelled(who, "DS01", reason)]
    await consume(session, registered(who), *(words if credit_first else reversed(words)))
    async with service.client("learner", id=who) as own:
        assert await statuses(own) == {"DS01": "ratified" if reason == "withdrawn" else "held"}
        await consume(session, revoked(who, "DS01"))
        assert await statuses(own) == {"DS01": "revoked"}


async def test_held_credit_is_not_transferred_and_what_is_used_up_stays_so(service, session, clock, applicant) -> None:
    learner = applicant
    path = (await request(service, learner, "DS01", "DS02")).json()["transfer_id"]
    await consume(session, cancelled(learner, "DS02"))
    taken = await act(service, path, "decision", decision(learner, DS01="accept", DS02="accept"))
    assert (taken.status_code, taken.json()["code"]) == (409, "credit_not_free")
    assert (await act(service, path, "decision", decision(learner, DS01="accept", DS02="refuse"))).status_code == 200
    await release(service, learner, "DS02")
    await consume(session, cancelled(learner, "DS01"))
    held = await act(service, path, "completion")
    assert (held.status_code, held.json()["code"]) == (409, "on_hold")
    async with service.client("learner", id=learner) as own:
        assert (await own.get(f"/v1/transfers/{path}")).json()["on_hold"] is True
        (await release(service, learner)).raise_for_status()
        assert (await own.get(f"/v1/transfers/{path}")).json()["on_hold"] is False
        assert (await act(service, path, "completion")).json()["state"] == "completed"
        assert (await statuses(own))["DS01"] == "consumed"


async def test_what_is_kept_is_what_the_facts_give(live, clock) -> None:
    who = new_id()
    async with live.process.database.transaction() as session:
        await hold_credit(session, who, DS=4)
        await consume(session, cancelled(who, "DS01"))
        titles = [one.levels for one in await published(session) if isinstance(one, AwardEligibilityChanged)]
        assert titles[-1][0].titles_removed == (TITLE,)
    assert [one async for one in differences(live.process.database)] == []
    async with live.process.database.transaction() as session:
        assert await differing(session, live.process.database.transaction, [who]) == []
