"""Each hold of docs/rules.md, "Holds": while it is open, and after each of its endings."""

import itertools
from datetime import timedelta

import pytest

from credentials.commands.projection import differing
from credentials.queries.holds import held_among
from credentials.queries.records import is_on_hold
from shared.events.payments import PaymentRestored, PaymentSettled
from shared.ids import new_id
from shared.testing.rules import endings_of_holds

from .announcements import (
    BEFORE,
    LAW,
    cancelled,
    consume,
    course,
    credit,
    hold_credit,
    named,
    registered,
    reversed_payment,
)
from .degrees import act, decision, request
from .holds import case_of, suspended, suspension_of
from .reviews import CLAIM

MANAGEMENT = {"level": "pgcert", "title": "PGCert in Management"}
OWN = "LAW01"
"""The course whose money is in question; its credit is on the record as the others' is."""
AT = BEFORE + timedelta(days=40)


def in_words(learner, code=OWN):
    """What payments says of the order's money: gone, there again by the same or another payment, settled."""
    order_id = named("order", learner, code)
    gone = reversed_payment(learner).model_copy(update={"order_id": order_id})
    there = {"order_id": order_id, "payment_id": new_id(), "learner_id": learner}
    return gone, PaymentRestored(**there, restored_at=AT + timedelta(days=1))


def ended(learner, reason):
    """After the suspension, whatever it was for."""
    gone, _ = in_words(learner)
    return [gone, suspended(learner, OWN), cancelled(learner, OWN, reason, cancelled_at=AT)]


def back(learner):
    gone, there = in_words(learner)
    begun, over = suspension_of(learner, OWN)
    return [gone, begun, there, over]


def let_pass(learner):
    """Finance lets the loss pass: payments never says that the money is there."""
    gone, _ = in_words(learner)
    return [gone, *suspension_of(learner, OWN)]


def only_disputed(learner):
    return list(suspension_of(learner, OWN))


def given_up_in_dispute(learner):
    return [suspended(learner, OWN), cancelled(learner, OWN, "withdrawn")]


OF_ALL = {
    "H1": {
        "the money is there again": back,
        "the order is paid again": back,
        "finance reinstates the enrolment": let_pass,
        "finance gives the course back": lambda who: ended(who, "refunded"),
        "the learner gives the course up": lambda who: ended(who, "withdrawn"),
        "14 days are over": lambda who: ended(who, "payment_lost"),
    },
    "H2": {
        "the bank leaves us the money": only_disputed,
        "the payer no longer asks for it": only_disputed,
        "the order is paid by another payment": back,
        "finance reinstates the enrolment": only_disputed,
        "the learner gives the course up": given_up_in_dispute,
        "the bank takes the money, and H1 has ended": lambda who: ended(who, "payment_lost"),
    },
    "H3": {"the panel decides, whatever it decides": case_of},
}
"""By hold and ending, all that other services say of it; what is said last ends it."""


async def release(service, who):
    async with service.client("registrar") as office:
        path = f"/v1/credit-holds/{named('credit', who, 'DS01')}/release"
        (await office.post(path, json={"reason_code": "goodwill"})).raise_for_status()


async def pay_after_all(session, who):
    await consume(session, in_words(who, "DS01")[1])


OF_ITS_OWN = {
    "H4": {"somebody releases the credit": ("refunded", lambda service, _, who: release(service, who))},
    "H5": {
        "the money comes after all": ("payment_lost", lambda _, session, who: pay_after_all(session, who)),
        "somebody releases the credit": ("payment_lost", lambda service, _, who: release(service, who)),
    },
}
"""By hold and ending: why the enrolment ended, and what ends the hold."""


def endings(holds):
    return [(hold, ending) for hold, endings in holds.items() for ending in endings]


def test_the_holds_and_their_endings_are_those_of_the_rules() -> None:
    """H1, H2, H3, H4, H5."""
    assert {hold: list(endings) for hold, endings in (OF_ALL | OF_ITS_OWN).items()} == endings_of_holds()


def refused(answer, code="on_hold") -> None:
    assert (answer.status_code, answer.json()["code"]) == (409, code), answer.text


@pytest.mark.parametrize(("hold", "ending"), endings(OF_ALL))
async def test_all_credit_waits_until_the_hold_ends_and_then_goes_through(
    service, session, clock, applicant, hold, ending
) -> None:
    who = applicant
    await hold_credit(session, who, DS=6, MG=4)
    await consume(session, course(OWN, LAW), credit(who, OWN, LAW))
    said = OF_ALL[hold][ending](who)
    chosen = {"credit_ids": [str(named("credit", who, f"DS0{n}")) for n in (3, 4, 5, 6)]}
    async with service.client("learner", id=who) as own, service.client("registrar") as office:
        claim = (await own.post("/v1/award-claims", json=CLAIM | chosen)).json()["award_id"]
        accepted = (await request(service, who, "DS01")).json()["transfer_id"]
        await act(service, accepted, "decision", decision(who, DS01="accept"))
        asked = (await request(service, who, "DS02")).json()["transfer_id"]
        accept = decision(who, DS02="accept")

        await consume(session, *said[:-1])
        assert (await own.get("/v1/award-options")).json()["on_hold"]
        refused(await own.post("/v1/award-claims", json=MANAGEMENT))
        refused(await office.post(f"/v1/award-claims/{claim}/conferral"))
        refused(await act(service, asked, "decision", accept))
        refused(await act(service, accepted, "completion"))
        refused(await request(service, who, "MG01"))

        await consume(session, said[-1], *reversed(said))
        assert not (await own.get("/v1/award-options")).json()["on_hold"]
        assert (await own.post("/v1/award-claims", json=MANAGEMENT)).status_code == 201
        assert (await office.post(f"/v1/award-claims/{claim}/conferral")).status_code == 201
        assert (await act(service, asked, "decision", accept)).json()["state"] == "accepted"
        for transfer in (accepted, asked):
            assert (await act(service, transfer, "completion")).json()["state"] == "completed"


@pytest.mark.parametrize(
    ("story", "own_is_held"),
    [
        (back, False),
        (let_pass, False),
        (only_disputed, False),
        (given_up_in_dispute, False),
        (lambda who: ended(who, "refunded"), True),
        (lambda who: ended(who, "withdrawn"), True),
        (lambda who: ended(who, "payment_lost"), True),
    ],
)
async def test_what_is_read_from_the_feed_anew_in_any_order_holds_the_same(
    service, session, clock, story, own_is_held
) -> None:
    """Nothing as a whole; and of itself the credit of the course whose money is gone for good or went back."""
    for order in itertools.permutations(range(len(story(new_id())))):
        who = new_id()
        said = story(who)
        await consume(session, registered(who), course(OWN, LAW), credit(who, OWN, LAW))
        await consume(session, *(said[n] for n in order), said[order[0]])
        own = named("credit", who, OWN)
        assert (await is_on_hold(session, who), await held_among(session, [own]) == {own}) == (False, own_is_held)


@pytest.mark.parametrize(("hold", "ending"), endings(OF_ITS_OWN))
async def test_credit_that_is_held_waits_alone_until_its_hold_ends(
    service, session, clock, applicant, hold, ending
) -> None:
    who = applicant
    await hold_credit(session, who, MG=4)
    reason, end = OF_ITS_OWN[hold][ending]
    gone, _ = in_words(who, "DS01")
    lost = [gone, suspended(who, "DS01")] if reason == "payment_lost" else []
    await consume(session, *lost, cancelled(who, "DS01", reason, cancelled_at=AT))
    async with service.client("learner", id=who) as own, service.client("registrar") as office:
        assert not (await own.get("/v1/award-options")).json()["on_hold"]
        refused(await own.post("/v1/award-claims", json=CLAIM), "not_eligible")
        refused(await request(service, who, "DS01"), "credit_not_free")
        assert (await own.post("/v1/award-claims", json=MANAGEMENT)).status_code == 201
        await end(service, session, who)
        asked = (await request(service, who, "DS01")).json()["transfer_id"]
        accepted = await act(service, asked, "decision", decision(who, DS01="accept"))
        assert accepted.json()["state"] == "accepted"
        await act(service, asked, "return", {"reason_code": "left_programme"})
        claim = (await own.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
        assert (await office.post(f"/v1/award-claims/{claim}/conferral")).status_code == 201


@pytest.mark.parametrize("outcome", ["no_case", "resubmit", "mark_zero", "credit_revoked"])
async def test_a_case_ends_however_it_is_decided(session, clock, outcome) -> None:
    for order in itertools.permutations(range(2)):
        who = new_id()
        words = case_of(who, outcome)
        await consume(session, *(words[index] for index in (*order, *order)))
        assert not await is_on_hold(session, who)
        await consume(session, case_of(who)[0])
        assert await is_on_hold(session, who)


async def test_a_suspension_of_one_enrolment_is_not_ended_by_the_end_of_another(session, clock) -> None:
    who = new_id()
    await consume(session, suspended(who, "A"), *suspension_of(who, "B"), cancelled(who, "C", "payment_lost"))
    assert await is_on_hold(session, who)
    await consume(session, suspended(who, "B", sequence=4), suspension_of(who, "A")[1])
    assert await is_on_hold(session, who)
    await consume(session, cancelled(who, "B", "refunded", sequence=5))
    assert not await is_on_hold(session, who)


async def test_credit_of_a_course_given_up_is_held_while_its_money_is_gone_and_no_longer(live, clock) -> None:
    """Whoever leaves a course whose payment is taken back has not paid for its credit; who leaves another has."""
    who = new_id()
    gone, there = in_words(who, "DS01")
    own = named("credit", who, "DS01")
    async with live.process.database.transaction() as session:
        await hold_credit(session, who, DS=4)
        await consume(session, cancelled(who, "DS01", "withdrawn"))
        assert await held_among(session, [own]) == set()
        await consume(session, gone)
        assert await held_among(session, [own]) == {own}
    async with live.process.database.transaction() as session:
        assert await differing(session, live.process.database.transaction, [who]) == []
        await consume(session, there)
        assert await held_among(session, [own]) == set()
        paid = PaymentSettled(
            order_id=there.order_id, payment_id=there.payment_id, learner_id=who, settled_at=AT + timedelta(days=9)
        )
        await consume(session, paid, gone)
        assert await held_among(session, [own]) == set()
