"""Awards of three levels, and several beside each other: no two that stand by themselves share credit."""

import itertools

import pytest
from sqlalchemy import select

from credentials import jobs as clockwork
from credentials.commands import awards
from credentials.domain import regulations
from credentials.domain.awards import State
from credentials.domain.reviews import Decision, NoSubstitute, NotTakenUp, Reason, WrongSubstitute
from credentials.queries.records import record_of
from credentials.tables.awards import Award, AwardReview, PendingEmail
from credentials.tables.issued import Badge
from shared.database import now as now_of
from shared.events.credentials import AwardRestored, AwardSuperseded
from shared.ids import new_id
from shared.jobs import Work
from shared.testing.services import published

from .announcements import DS, MG, consume, course, credit, hold_credit, let_time_work, named, renamed, revoked
from .reviews import TITLE, hold_award

DIPLOMA, MASTERS = "PGDip in Data Science", "Master's degree in Data Science"


async def decide(session, award: Award, decision: Decision, codes: list[str] | None = None) -> None:
    review = await session.scalar(
        select(AwardReview).where(AwardReview.award_id == award.award_id, AwardReview.decided_at.is_(None))
    )
    chosen = None if codes is None else [named("credit", award.learner_id, code) for code in codes]
    await awards.decide_award_review(session, review.review_id, decision, Reason.MISCONDUCT, chosen, by=new_id())


async def chain_of(session, learner) -> list[Award]:
    """A certificate, a diploma and a degree, each of which took up the one before."""
    levels = regulations.in_force(now_of(session)).levels
    held = []
    for level, title, modules in zip(levels, (TITLE, DIPLOMA, None), (4, 8, 12), strict=True):
        await hold_credit(session, learner, DS=modules)
        found = (await record_of(session, learner, now_of(session))).options(now_of(session))[level.code]
        held.append(await hold_award(session, learner, level.code, title or found[0].title))
    assert [award.state for award in held] == ["superseded", "superseded", "conferred"]
    return held


async def assert_no_credit_stands_twice(session, learner) -> None:
    record = await record_of(session, learner, now_of(session))
    standing = [one for one in record.awards if one.state in (State.CLAIMED, State.CONFERRED)]
    for one, other in itertools.combinations(standing, 2):
        assert not record.allocations[one.award_id] & record.allocations[other.award_id], (one.title, other.title)


async def test_the_middle_of_a_chain_rescinded_hands_the_lowest_on_to_the_highest(service, session, clock) -> None:
    learner = new_id()
    certificate, diploma, degree = await chain_of(session, learner)
    await consume(session, revoked(learner, "DS08"))
    await decide(session, diploma, Decision.RESCIND)
    assert (certificate.state, certificate.superseded_by) == ("superseded", degree.award_id)
    await assert_no_credit_stands_twice(session, learner)
    announced = [event for event in await published(session) if isinstance(event, AwardSuperseded | AwardRestored)]
    last = announced[-1]
    assert isinstance(last, AwardSuperseded)
    assert (last.award_id, last.superseded_by) == (certificate.award_id, degree.award_id)
    await consume(session, course("DS13", DS), credit(learner, "DS13", DS))
    await decide(session, degree, Decision.SUBSTITUTE)
    await assert_no_credit_stands_twice(session, learner)
    await consume(session, revoked(learner, "DS12"))
    await decide(session, degree, Decision.RESCIND)
    assert (certificate.state, certificate.superseded_by) == ("conferred", None)
    await assert_no_credit_stands_twice(session, learner)


async def test_what_the_highest_gives_back_is_the_middle_and_not_what_that_holds(service, session, clock) -> None:
    learner = new_id()
    certificate, diploma, degree = await chain_of(session, learner)
    await consume(session, revoked(learner, "DS12"))
    await decide(session, degree, Decision.RESCIND)
    assert [one.state for one in (certificate, diploma)] == ["superseded", "conferred"]
    assert certificate.superseded_by == diploma.award_id


async def test_a_substitution_takes_no_credit_from_another_award(service, session, clock) -> None:
    """Nor by hand: a board that wants it lets the learner claim anew."""
    learner = new_id()
    await hold_credit(session, learner, DS=8)
    diploma = await hold_award(session, learner, "pgdip", DIPLOMA)
    for n in range(9, 13):
        await consume(session, course(f"DS{n:02}", DS), credit(learner, f"DS{n:02}", DS))
    certificate = await hold_award(session, learner)
    assert (certificate.state, diploma.state) == ("conferred", "conferred")
    await consume(session, revoked(learner, "DS08"))
    with pytest.raises(NoSubstitute):
        await decide(session, diploma, Decision.SUBSTITUTE)
    by_hand = [f"DS{n:02}" for n in (1, 2, 3, 4, 5, 6, 7, 9)]
    with pytest.raises(WrongSubstitute):
        await decide(session, diploma, Decision.SUBSTITUTE, by_hand)
    await consume(session, course("DS13", DS), credit(learner, "DS13", DS, mark=50))
    await decide(session, diploma, Decision.SUBSTITUTE)
    record = await record_of(session, learner, now_of(session))
    assert named("credit", learner, "DS13") in record.allocations[diploma.award_id]
    assert (certificate.state, diploma.state) == ("conferred", "conferred")
    await assert_no_credit_stands_twice(session, learner)


async def test_a_substitution_takes_no_credit_that_a_claim_reserves(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=8)
    diploma = await hold_award(session, learner, "pgdip", DIPLOMA)
    for n in range(9, 13):
        await consume(session, course(f"DS{n:02}", DS), credit(learner, f"DS{n:02}", DS))
    claim = await awards.claim_award(session, learner, "pgcert", TITLE, None)
    await consume(session, revoked(learner, "DS08"))
    with pytest.raises(NoSubstitute):
        await decide(session, diploma, Decision.SUBSTITUTE)
    await awards.confer_award(session, claim.award_id, by=new_id())
    await assert_no_credit_stands_twice(session, learner)


async def test_the_lowest_of_three_may_share_credit_with_both_above(service, session, clock) -> None:
    learner = new_id()
    certificate, _, _ = await chain_of(session, learner)
    await consume(session, revoked(learner, "DS04"))
    await decide(session, certificate, Decision.SUBSTITUTE)
    record = await record_of(session, learner, now_of(session))
    kept = {named("credit", learner, f"DS{n:02}") for n in (1, 2, 3)}
    assert kept < record.allocations[certificate.award_id]
    assert not record.revoked & record.allocations[certificate.award_id]
    await assert_no_credit_stands_twice(session, learner)


async def test_spare_credit_takes_its_place_though_the_subject_was_renamed(service, session, clock) -> None:
    """The award keeps the name of its day; credit of another subject does not fit, whatever that is called now."""
    learner = new_id()
    await hold_credit(session, learner, DS=4, MG=1)
    award = await hold_award(session, learner)
    await consume(session, renamed(DS, "Data Analytics"), renamed(MG, DS))
    await consume(session, course("DS05", "Data Analytics", subject_id=named("subject", DS)))
    await consume(session, revoked(learner, "DS04"))
    with pytest.raises(NoSubstitute):
        await decide(session, award, Decision.SUBSTITUTE)
    again = credit(learner, "DS05", "Data Analytics", subject_id=named("subject", DS))
    await consume(session, again)
    by_hand = ["DS01", "DS02", "DS03", "MG01"]
    with pytest.raises(WrongSubstitute):
        await decide(session, award, Decision.SUBSTITUTE, by_hand)
    await decide(session, award, Decision.SUBSTITUTE)
    record = await record_of(session, learner, now_of(session))
    assert again.credit_id in record.allocations[award.award_id]
    assert (award.state, award.title) == ("conferred", TITLE)


async def test_what_was_not_lost_stays_though_the_module_was_passed_better_since(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    award = await hold_award(session, learner)
    await hold_credit(session, learner, DS=5)
    better = credit(learner, "DS01", DS, mark=90, credit_id=new_id(), enrolment_id=new_id(), submission_id=new_id())
    await consume(session, better, revoked(learner, "DS04"))
    await decide(session, award, Decision.SUBSTITUTE)
    record = await record_of(session, learner, now_of(session))
    assert record.allocations[award.award_id] == {named("credit", learner, f"DS{n:02}") for n in (1, 2, 3, 5)}


async def test_each_badge_of_a_title_states_its_own_reason(service, session, clock) -> None:
    pure, mixed = new_id(), new_id()
    await hold_credit(session, pure, DS=8)
    await hold_credit(session, mixed, DS=7, MG=1)
    held = [await hold_award(session, learner, "pgdip", DIPLOMA) for learner in (pure, mixed)]
    assert held[0].reason != held[1].reason
    await let_time_work(service)
    for award in held:
        badge = await session.scalar(select(Badge).where(Badge.award_id == award.award_id))
        await session.refresh(badge)
        assert badge.document["credentialSubject"]["achievement"]["criteria"]["narrative"].startswith(award.reason)


async def stood_twice(session, certificate: Award) -> None:
    """As a release of before left it: given back though a higher award holds its credit, and not looked at since."""
    certificate.state, certificate.superseded_by, certificate.superseded_at = State.CONFERRED, None, None
    certificate.looked_at = False
    await session.flush()


async def look(service, session, *held: Award) -> None:
    await clockwork.look_at_awards(Work(service.process.database, service.service.resources))
    for award in held:
        await session.refresh(award)


async def reviewed(service, learner) -> dict:
    async with service.client("registrar") as office:
        found = (await office.get("/v1/award-reviews", params={"waiting": True})).json()["items"]
    (one,) = [one for one in found if one["learner_id"] == str(learner)]
    return one


async def test_an_award_that_stood_twice_is_found_and_superseded_by_a_registrar(service, session, clock) -> None:
    learner = new_id()
    certificate, diploma, degree = await chain_of(session, learner)
    await stood_twice(session, certificate)
    await look(service, session, certificate)
    assert certificate.under_review_since is None  # it lost nothing: to others it stands as before
    emails = select(PendingEmail.kind).where(PendingEmail.kind == "award_review_opened")
    assert (await session.scalars(emails)).all() == []
    review = await reviewed(service, learner)
    assert (review["award_id"], review["proposal"]["decision"]) == (str(certificate.award_id), "supersede")
    assert review["proposal"]["lost"] == []
    await decide(session, certificate, Decision.SUPERSEDE)
    assert (certificate.state, certificate.superseded_by) == ("superseded", diploma.award_id)
    assert [one.state for one in (diploma, degree)] == ["superseded", "conferred"]
    await assert_no_credit_stands_twice(session, learner)
    announced = [event for event in await published(session) if isinstance(event, AwardSuperseded)]
    assert (announced[-1].award_id, announced[-1].superseded_by) == (certificate.award_id, diploma.award_id)


async def test_an_award_that_stood_twice_may_stand_on_spare_credit_instead(service, session, clock) -> None:
    learner = new_id()
    certificate, *_ = await chain_of(session, learner)
    for n in range(13, 17):
        await consume(session, course(f"DS{n:02}", DS), credit(learner, f"DS{n:02}", DS))
    await stood_twice(session, certificate)
    await look(service, session, certificate)
    review = await reviewed(service, learner)
    assert review["proposal"]["decision"] == "substitute"
    spare = [str(named("credit", learner, f"DS{n}")) for n in range(13, 17)]
    assert sorted(review["proposal"]["added"]) == sorted(spare)
    await decide(session, certificate, Decision.SUBSTITUTE)
    assert certificate.state == "conferred"
    await assert_no_credit_stands_twice(session, learner)


async def test_only_what_shares_credit_and_lost_none_is_superseded_by_a_review(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    alone = await hold_award(session, learner)
    await consume(session, revoked(learner, "DS04"))
    with pytest.raises(NotTakenUp):
        await decide(session, alone, Decision.SUPERSEDE)
    assert alone.state == "conferred"


async def test_an_award_is_looked_at_once(service, session, clock) -> None:
    learner = new_id()
    await chain_of(session, learner)
    assert all((await session.scalars(select(Award.looked_at))).all())
    await look(service, session)
    waiting = select(AwardReview).where(AwardReview.learner_id == learner)
    assert (await session.scalars(waiting)).all() == []
