"""What becomes of an award when credit it stands on is revoked; claims that are withdrawn or refused."""

import itertools
from datetime import timedelta

from sqlalchemy import select

from credentials.commands import awards
from credentials.domain.reviews import Decision, Reason
from credentials.tables.awards import AwardReview
from credentials.tables.issued import Eligibility
from shared.events.credentials import (
    AwardConferred,
    AwardEligibilityChanged,
    AwardRefused,
    AwardRescinded,
    AwardRestored,
    AwardReviewClosed,
    AwardReviewOpened,
    AwardWithdrawn,
    BadgeRevoked,
)
from shared.ids import new_id
from shared.testing.services import published

from .announcements import (
    BEFORE,
    DS,
    consume,
    course,
    credit,
    hold_credit,
    let_time_work,
    named,
    revoked,
)
from .reviews import CLAIM, TITLE, decide, emails_about, hold_award, reinstated, review_of


async def test_a11_spare_credit_is_proposed_and_nothing_is_rescinded_before_a_decision(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    award = await hold_award(session, learner)
    await consume(session, course("DS05", DS), credit(learner, "DS05", DS), revoked(learner, "DS04"))
    assert award.state == "conferred"
    assert not [event for event in await published(session) if isinstance(event, AwardRescinded)]
    async with service.client("learner", id=learner) as own, service.client("registrar") as office:
        review = await review_of(own)
        proposal = review["proposal"]
        assert (proposal["decision"], proposal["lost"]) == ("substitute", [str(named("credit", learner, "DS04"))])
        assert proposal["added"] == [str(named("credit", learner, "DS05"))]
        assert proposal["removed"] == proposal["lost"]

        decided = await decide(office, review, "substitute")
        assert (decided.status_code, decided.json()["decision"]) == (201, "substitute")
        stands = (await own.get(f"/v1/awards/{award.award_id}")).json()
    assert (stands["state"], stands["title"], stands["under_review_since"]) == ("conferred", TITLE, None)
    assert stands["certificate_number"] == award.certificate_number
    assert set(stands["credit_ids"]) == {str(named("credit", learner, f"DS0{n}")) for n in (1, 2, 3, 5)}
    opened, closed = [e for e in await published(session) if isinstance(e, AwardReviewOpened | AwardReviewClosed)]
    assert isinstance(opened, AwardReviewOpened)
    assert opened.credit_ids == (named("credit", learner, "DS04"),)
    assert isinstance(closed, AwardReviewClosed)
    assert (closed.decision, closed.reason_code, len(closed.credit_ids)) == ("substitute", "misconduct", 4)


async def test_each_review_of_an_award_is_closed_later_than_those_before_whatever_the_clocks_say(
    service, session, clock
) -> None:
    """What an award stands on is the last word; replicas tell the time differently."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    for n in (5, 6):
        await consume(session, course(f"DS0{n}", DS), credit(learner, f"DS0{n}", DS), revoked(learner, f"DS0{n - 1}"))
        clock.advance(seconds=-6)
        async with service.client("learner", id=learner) as own, service.client("registrar") as office:
            assert (await decide(office, await review_of(own), "substitute")).status_code == 201
    first, second = [one for one in await published(session) if isinstance(one, AwardReviewClosed)]
    assert first.closed_at < second.closed_at
    assert named("credit", learner, "DS06") in second.credit_ids


async def test_a12_without_spare_credit_credit_badge_and_award_go_in_that_order(service, session, clock) -> None:
    learner, registrar = new_id(), new_id()
    await hold_credit(session, learner, DS=4)
    award = await hold_award(session, learner)
    await let_time_work(service)
    before = len(await published(session))
    await consume(session, revoked(learner, "DS04"))
    async with service.client("learner", id=learner) as own, service.client("examiner", id=registrar) as board:
        review = await review_of(own)
        assert review["proposal"]["decision"] == "rescind"
        decided = (await decide(board, review, "rescind")).json()
        options = (await own.get("/v1/award-options")).json()["levels"]
    assert (decided["state"], decided["decision"], decided["reason_code"]) == ("rescinded", "rescind", "misconduct")
    assert [level["options"] for level in options] == [[], [], []]
    announced = (await published(session))[before:]
    gone = [event for event in announced if isinstance(event, BadgeRevoked | AwardRescinded)]
    badge_of_credit, badge_of_award, rescinded = gone
    assert isinstance(badge_of_credit, BadgeRevoked)
    assert badge_of_credit.credit_id == named("credit", learner, "DS04")
    assert isinstance(badge_of_award, BadgeRevoked)
    assert badge_of_award.credit_id is None
    assert isinstance(rescinded, AwardRescinded)
    assert (rescinded.award_id, rescinded.certificate_number) == (award.award_id, award.certificate_number)
    assert (await session.get(Eligibility, learner)).titles["pgcert"] == []
    assert any(isinstance(event, AwardEligibilityChanged) for event in announced) is False  # there was none to lose
    row = await session.get(AwardReview, review["review_id"], populate_existing=True)
    assert row.decided_by == registrar
    await session.refresh(award)
    assert (award.state, award.ended_by, award.end_reason) == ("rescinded", registrar, "misconduct")


async def test_what_lower_levels_open_is_offered_too(service, session, clock) -> None:
    """Seven of the eight modules of a lost diploma still give certificates."""
    learner = new_id()
    await hold_credit(session, learner, DS=8)
    await hold_award(session, learner, "pgdip", "PGDip in Data Science")
    await consume(session, revoked(learner, "DS08"))
    async with service.client("learner", id=learner) as own, service.client("registrar") as office:
        review = await review_of(office)
        assert (review["proposal"]["decision"], review["proposal"]["offer"]) == ("rescind_and_offer", [TITLE])
        decided = (await decide(office, review, "rescind_and_offer")).json()
        assert decided["outcome"]["offer"] == [TITLE]
        claimed = await own.post("/v1/award-claims", json=CLAIM)
    assert claimed.status_code == 201
    await let_time_work(service)
    (email,) = await emails_about(session, "award_review_closed")
    assert f"you may claim: {TITLE}" in email.text


async def test_nothing_is_offered_that_a_higher_award_holds(service, session, clock) -> None:
    """A certificate below a diploma that stands: its own four modules are the diploma's."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    lower = await hold_award(session, learner)
    await hold_credit(session, learner, DS=8)
    higher = await hold_award(session, learner, "pgdip", "PGDip in Data Science")
    await consume(session, revoked(learner, "DS04"))
    async with service.client("learner", id=learner) as own:
        reviews = (await own.get("/v1/award-reviews", params={"waiting": True})).json()["items"]
    offers = {review["award_id"]: review["proposal"]["offer"] for review in reviews}
    assert offers == {str(lower.award_id): [], str(higher.award_id): []}


async def test_what_remains_may_give_another_title_which_is_offered(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4, MG=1)
    award = await hold_award(session, learner)
    await consume(session, revoked(learner, "DS04"))
    offered = f"{TITLE} with Management"
    async with service.client("learner", id=learner) as own, service.client("registrar") as office:
        review = await review_of(own)
        assert (review["proposal"]["decision"], review["proposal"]["offer"]) == ("rescind_and_offer", [offered])
        decided = (await decide(office, review, "rescind_and_offer")).json()
        assert decided["outcome"]["offer"] == [offered]
        again = await own.post("/v1/award-claims", json={"level": "pgcert", "title": offered})
        conferred = await office.post(f"/v1/award-claims/{again.json()['award_id']}/conferral")
    assert conferred.status_code == 201
    assert conferred.json()["certificate_number"] != award.certificate_number


async def test_a_rescinded_higher_award_gives_back_the_lower_one(service, session, clock) -> None:
    """Its own credit is as it was: the certificate stands again under its old number."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    lower = await hold_award(session, learner)
    await hold_credit(session, learner, MG=4)
    diploma = "PGDip in Data Science and Management"
    higher = await hold_award(session, learner, "pgdip", diploma)
    assert lower.state == "superseded"
    await consume(session, revoked(learner, "MG04"))
    async with service.client("registrar") as office:
        review = await review_of(office)
        assert review["award_id"] == str(higher.award_id)
        decided = (await decide(office, review, "rescind")).json()
    assert decided["outcome"]["restored"] == [str(lower.award_id)]
    for award in (lower, higher):
        await session.refresh(award)
    assert (lower.state, lower.superseded_by, higher.state) == ("conferred", None, "rescinded")
    (restored,) = [event for event in await published(session) if isinstance(event, AwardRestored)]
    assert restored.award_id == lower.award_id


async def test_both_awards_that_stand_on_lost_credit_are_reviewed_each_by_itself(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    lower = await hold_award(session, learner)
    await hold_credit(session, learner, DS=8)
    higher = await hold_award(session, learner, "pgdip", "PGDip in Data Science")
    await consume(session, revoked(learner, "DS04"))
    async with service.client("registrar") as office:
        waiting = (await office.get("/v1/award-reviews", params={"waiting": True})).json()["items"]
        reviews = {review["award_id"]: review for review in waiting}
        proposals = {award: review["proposal"]["decision"] for award, review in reviews.items()}
        # The lower one may share credit with the award that took it up, as it did before.
        assert proposals == {str(lower.award_id): "substitute", str(higher.award_id): "rescind"}
        assert (await decide(office, reviews[str(lower.award_id)], "substitute")).status_code == 201
        assert (await decide(office, reviews[str(higher.award_id)], "rescind")).status_code == 201
    for award in (lower, higher):
        await session.refresh(award)
    assert (lower.state, higher.state) == ("conferred", "rescinded")


async def test_the_learner_may_earn_the_award_again(service, session, clock) -> None:
    """The module passed anew: another credit of the same family, and a claim with a number of its own."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    first = await hold_award(session, learner)
    await consume(session, revoked(learner, "DS04"))
    async with service.client("registrar") as office:
        await decide(office, await review_of(office), "rescind")
    again = credit(
        learner,
        "DS04",
        DS,
        credit_id=new_id(),
        enrolment_id=new_id(),
        submission_id=new_id(),
    )
    await consume(session, again)
    second = await hold_award(session, learner)
    assert second.certificate_number != first.certificate_number
    assert len([event for event in await published(session) if isinstance(event, AwardConferred)]) == 2


async def test_a_substitution_by_hand_must_give_the_same_title(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    await hold_credit(session, learner, DS=6, MG=1)
    await consume(session, revoked(learner, "DS04"))

    def ids(*codes: str) -> list[str]:
        return [str(named("credit", learner, code)) for code in codes]

    async with service.client("registrar") as office:
        review = await review_of(office)
        for wrong in (ids("DS01", "DS02", "DS03", "MG01"), ids("DS01", "DS02", "DS03", "DS04"), ids("DS01")):
            answer = await decide(office, review, "substitute", credit_ids=wrong)
            assert (answer.status_code, answer.json()["code"]) == (422, "wrong_substitute")
        answer = await decide(office, review, "rescind", credit_ids=ids("DS05"))
        assert (answer.status_code, answer.json()["code"]) == (422, "wrong_substitute")
        answer = await decide(office, review, "substitute", credit_ids=ids("DS01", "DS02", "DS05", "DS06"))
    assert answer.status_code == 201
    assert set(answer.json()["outcome"]["added"]) == set(ids("DS05", "DS06"))


async def test_a_decision_is_made_once_by_somebody_else_and_for_a_reason(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    await consume(session, revoked(learner, "DS04"))
    async with service.client("learner", "registrar", id=learner) as own, service.client("registrar") as office:
        review = await review_of(own)
        assert (await decide(own, review, "rescind")).json()["code"] == "own_review"
        assert (await decide(office, review, "rescind", reason_code="dislike")).json()["code"] == "invalid_request"
        assert (await decide(office, review, "substitute")).json()["code"] == "no_substitute"
        assert (await decide(office, review, "rescind")).status_code == 201
        assert (await decide(office, review, "rescind")).json()["code"] == "review_decided"
    async with service.client("learner") as another:
        assert (await another.get(f"/v1/award-reviews/{review['review_id']}")).status_code == 404
        assert (await another.get("/v1/award-reviews")).json()["items"] == []


async def test_the_order_in_which_two_losses_arrive_changes_nothing(service, session, clock) -> None:
    outcomes = set()
    for order in itertools.permutations(("DS03", "DS04")):
        learner = new_id()
        await hold_credit(session, learner, DS=4)
        await hold_award(session, learner)
        await hold_credit(session, learner, DS=6)
        await consume(session, *(revoked(learner, code) for code in order))
        review = (await session.scalars(select(AwardReview).where(AwardReview.learner_id == learner))).one()
        closed = await awards.decide_award_review(
            session, review.review_id, Decision.SUBSTITUTE, Reason.MISCONDUCT, None, by=new_id()
        )
        outcomes.add((len(closed.outcome["added"]), len(closed.outcome["removed"])))
    assert outcomes == {(2, 2)}


async def test_credit_lost_after_a_substitution_opens_another_review(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    await hold_credit(session, learner, DS=6)
    async with service.client("registrar") as office:
        for code in ("DS04", "DS03"):
            await consume(session, revoked(learner, code))
            assert (await decide(office, await review_of(office), "substitute")).status_code == 201
    assert len([event for event in await published(session) if isinstance(event, AwardReviewOpened)]) == 2


# Claims


async def test_a_claim_withdrawn_frees_its_credit_at_once(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as own, service.client("learner") as other:
        award_id = (await own.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
        assert (await other.post(f"/v1/award-claims/{award_id}/withdrawal")).status_code == 404
        answer = await own.post(f"/v1/award-claims/{award_id}/withdrawal")
        assert (answer.status_code, answer.json()["state"]) == (201, "withdrawn")
        assert (await own.post(f"/v1/award-claims/{award_id}/withdrawal")).json()["code"] == "not_claimed"
        assert (await own.post("/v1/award-claims", json=CLAIM)).status_code == 201
    assert any(isinstance(event, AwardWithdrawn) for event in await published(session))


async def test_a_refused_claim_says_why_and_frees_its_credit(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", "registrar", id=learner) as own, service.client("registrar") as office:
        award_id = (await own.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
        reason = {"reason_code": "identity_not_confirmed"}
        assert (await own.post(f"/v1/award-claims/{award_id}/refusal", json=reason)).json()["code"] == "own_award"
        answer = await office.post(f"/v1/award-claims/{award_id}/refusal", json=reason)
        assert (answer.json()["state"], answer.json()["end_reason"]) == ("refused", "identity_not_confirmed")
        assert (await own.post("/v1/award-claims", json=CLAIM)).status_code == 201
    await let_time_work(service)
    (email,) = await emails_about(session, "award_refused")
    assert "identity not confirmed" in email.text
    assert any(isinstance(event, AwardRefused) for event in await published(session))


async def test_a_conferred_award_is_not_withdrawn(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    award = await hold_award(session, learner)
    async with service.client("learner", id=learner) as own:
        answer = await own.post(f"/v1/award-claims/{award.award_id}/withdrawal")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_conferred")


# Credit given back


async def test_credit_given_back_before_a_decision_ends_the_review(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    award = await hold_award(session, learner)
    await consume(session, revoked(learner, "DS04"), reinstated(learner, "DS04"))
    assert (award.state, award.under_review_since) == ("conferred", None)
    (closed,) = [event for event in await published(session) if isinstance(event, AwardReviewClosed)]
    assert (closed.decision, len(closed.credit_ids)) == ("credit_reinstated", 4)
    async with service.client("registrar") as office:
        (review,) = (await office.get("/v1/award-reviews", params={"waiting": False})).json()["items"]
    assert (review["decision"], review["proposal"]) == ("credit_reinstated", None)


async def test_an_appeal_upheld_lets_the_award_be_claimed_anew_with_another_number(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    first = await hold_award(session, learner)
    await consume(session, revoked(learner, "DS04"))
    async with service.client("registrar") as office:
        await decide(office, await review_of(office), "rescind")
    await consume(session, reinstated(learner, "DS04"))
    second = await hold_award(session, learner)
    await session.refresh(first)
    assert (first.state, second.state) == ("rescinded", "conferred")
    assert second.certificate_number != first.certificate_number


async def test_revocation_and_reinstatement_count_by_their_dates_whichever_arrives_first(
    service, session, clock
) -> None:
    again = revoked_at(40)
    for order in itertools.permutations((revoked_at(20), lambda who: reinstated(who, "DS04", 30))):
        learner = new_id()
        await consume(session, *(fact(learner) for fact in order))
        await hold_credit(session, learner, DS=4)
        assert (await session.get(Eligibility, learner)).titles["pgcert"] == [TITLE]
        await consume(session, again(learner))
        assert (await session.get(Eligibility, learner)).titles["pgcert"] == []


def revoked_at(days: int):
    return lambda who: revoked(who, "DS04").model_copy(update={"revoked_at": BEFORE + timedelta(days=days)})


async def test_whoever_took_the_credit_does_not_decide_on_the_award(service, session, clock) -> None:
    learner, parser = new_id(), new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    await consume(session, revoked(learner, "DS01").model_copy(update={"decided_by": str(parser)}))
    async with service.client("registrar", id=parser) as both, service.client("registrar") as office:
        review = await review_of(office)
        refused = await decide(both, review, "rescind")
        assert (refused.status_code, refused.json()["code"]) == (403, "own_revocation")
        assert (await decide(office, review, "rescind")).status_code == 201
