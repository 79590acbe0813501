"""A learner is e-mailed of a revocation, a review and what became of it, each once."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from credentials import jobs as clockwork
from credentials.tables.awards import Award, PendingEmail
from credentials.tables.people import Learner
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail

from .announcements import (
    DS,
    consume,
    course,
    credit,
    hold_credit,
    introduce,
    let_time_work,
    person,
    revoked,
    work_of,
)
from .reviews import decide, emails_about, hold_award, lost_today, reinstated, review_of

TITLE = "PGCert in Data Science"
CLAIM = {"level": "pgcert", "title": TITLE}


async def test_a12_one_email_tells_of_the_decision(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    await let_time_work(service)
    before = (await session.scalars(select(QueuedEmail.kind))).all()
    await consume(session, lost_today(learner, "DS04", clock))
    async with service.client("registrar") as office:
        await decide(office, await review_of(office), "rescind")
    await let_time_work(service)
    await let_time_work(service)
    after = (await session.scalars(select(QueuedEmail.kind))).all()
    assert sorted(after) == sorted([*before, "credit_revoked", "award_review_opened", "award_review_closed"])
    (email,) = await emails_about(session, "award_review_closed")
    assert email.recipient == person(learner).contact_email
    assert "was rescinded" in email.text
    assert "appeal" in email.text


async def test_a_claim_that_lost_credit_is_held_and_emailed_and_refused_in_true_words(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as own, service.client("registrar") as office:
        claim = (await own.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
        await consume(session, lost_today(learner, "DS04", clock))
        await consume(session, credit(learner, "DS05", DS))  # whatever comes after announces nothing again
        await let_time_work(service)
        (held,) = await emails_about(session, "claim_held")
        assert (await office.get("/v1/award-reviews")).json()["items"] == []
        problem = (await office.post(f"/v1/award-claims/{claim}/conferral")).json()
        answer = await office.post(f"/v1/award-claims/{claim}/refusal", json={"reason_code": "credit_revoked"})
    await let_time_work(service)
    (email,) = await emails_about(session, "award_refused")
    assert held.recipient == email.recipient == person(learner).contact_email
    assert "taken back" in held.text
    assert (problem["code"], answer.status_code) == ("under_review", 201)
    assert "refuse it" in problem["detail"]
    assert "credit revoked" in email.text
    assert "What is left of the credit" in email.text


@pytest.mark.parametrize("first", ["credit", "revocation"])
async def test_a_revocation_is_emailed_once_whichever_comes_first(service, session, clock, first) -> None:
    learner = new_id()
    await introduce(session, learner)
    facts = [credit(learner, "DS01", DS), lost_today(learner, "DS01", clock)]
    await consume(session, course("DS01", DS), *(facts if first == "credit" else reversed(facts)))
    await consume(
        session, credit(learner, "DS02", DS)
    )  # whatever comes after derives anew, and announces nothing again
    await let_time_work(service)
    await let_time_work(service)
    (email,) = await emails_about(session, "credit_revoked")
    assert email.recipient == person(learner).contact_email
    assert "Reason of the decision: academic misconduct." in email.text
    assert "appeal" in email.text


async def test_credit_given_back_is_emailed_and_a_later_revocation_too(service, session, clock) -> None:
    learner = new_id()
    await introduce(session, learner)
    await consume(session, course("DS01", DS), credit(learner, "DS01", DS), lost_today(learner, "DS01", clock))
    back = reinstated(learner, "DS01").model_copy(update={"reinstated_at": clock() + timedelta(seconds=1)})
    again = revoked(learner, "DS01").model_copy(update={"revoked_at": clock() + timedelta(seconds=2)})
    await consume(session, back, again)
    await let_time_work(service)
    assert len(await emails_about(session, "credit_revoked")) == 2
    (email,) = await emails_about(session, "credit_reinstated")
    assert "was given back" in email.text


async def test_nothing_is_given_back_in_words_that_was_never_taken(service, session, clock) -> None:
    """The reinstatement overtakes the revocation it undoes: the learner's credit stood all the while."""
    learner = new_id()
    await introduce(session, learner)
    back = reinstated(learner, "DS01").model_copy(update={"reinstated_at": clock() + timedelta(seconds=1)})
    await consume(session, course("DS01", DS), credit(learner, "DS01", DS), back, lost_today(learner, "DS01", clock))
    await let_time_work(service)
    assert await emails_about(session, "credit_reinstated") == await emails_about(session, "credit_revoked") == []


async def test_an_award_given_back_that_is_under_review_itself_is_called_so(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    await hold_credit(session, learner, DS=8)
    higher = await hold_award(session, learner, "pgdip", "PGDip in Data Science")
    await consume(session, revoked(learner, "DS04"))
    async with service.client("registrar") as office:
        waiting = (await office.get("/v1/award-reviews", params={"waiting": True})).json()["items"]
        (review,) = [one for one in waiting if one["award_id"] == str(higher.award_id)]
        await decide(office, review, "rescind")
    await let_time_work(service)
    (email,) = await emails_about(session, "award_review_closed")
    assert f"Under review itself, because it lost credit too: {TITLE}." in email.text


async def test_a_service_that_consumes_old_facts_anew_writes_no_emails_about_them(service, session, clock) -> None:
    learner = new_id()
    await introduce(session, learner)
    long_ago = revoked(learner, "DS01").model_copy(update={"revoked_at": clock() - timedelta(days=40)})
    await consume(session, course("DS01", DS), credit(learner, "DS01", DS), long_ago)
    await let_time_work(service)
    assert await emails_about(session, "credit_revoked") == []


async def test_a_review_is_emailed_when_it_opens_and_when_the_credit_comes_back(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    award = await hold_award(session, learner)
    await let_time_work(service)
    await consume(session, revoked(learner, "DS04"))
    await let_time_work(service)
    (email,) = await emails_about(session, "award_review_opened")
    assert award.certificate_number is not None
    assert award.certificate_number in email.text
    await consume(session, reinstated(learner, "DS04"))
    await let_time_work(service)
    (email,) = await emails_about(session, "award_review_closed")
    assert email.subject == f"Your {TITLE} stands"


async def test_emails_wait_for_the_address_and_go_once(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    await clockwork.queue_emails(work_of(service))
    assert await emails_about(session, "award_conferred") == []
    await let_time_work(service)
    await let_time_work(service)
    (email,) = await emails_about(session, "award_conferred")
    number = await session.scalar(select(Award.certificate_number))
    assert f"{service.service.settings.public_url}/documents/{number}\n" in email.text
    assert email.recipient == person(learner).contact_email
    assert email.about == f"{learner} {(await one_award(session)).award_id}"
    assert email.text.startswith(f"Dear {person(learner).display_name},\n\n")


async def one_award(session) -> Award:
    return (await session.scalars(select(Award))).one()


async def test_nobody_writes_to_a_learner_who_was_erased(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    (await session.get(Learner, learner)).anonymised_at = clock()
    await session.flush()
    await let_time_work(service)
    assert await emails_about(session, "award_conferred") == []
    assert (await session.scalars(select(PendingEmail))).all() == []
