"""A contact address is used once the code that was sent there has come back."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from shared.events.enrolment import LearnerContactChanged
from shared.ids import new_id
from shared.messaging.tables import Letter
from shared.registers import PersonEntry

from .test_api import FORM
from .test_register import anonymise, registers

NEW = "ada.reid@example.org"


@pytest.fixture
async def learner(service, story):
    async with service.client("learner", id=story.learner_id) as client:
        await client.post("/v1/learners", json=FORM)
        yield client


async def ask(learner, email=NEW):
    return await learner.patch("/v1/learners/me", json={"contact_email": email})


async def confirm(learner, code):
    return await learner.put("/v1/learners/me/contact-email", json={"code": code})


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_another_address_moves_nothing_before_it_is_confirmed(service, story, learner):
    asked = (await ask(learner)).json()
    assert (asked["contact_email"], asked["unconfirmed_contact_email"]) == (FORM["contact_email"], NEW)
    [entry] = await registers(service).read(PersonEntry, [story.learner_id])
    assert (entry.contact_email, entry.contact_version) == (FORM["contact_email"], 1)
    assert await story.announced(LearnerContactChanged) == []

    confirmed = (await confirm(learner, await story.code())).json()
    assert (confirmed["contact_email"], confirmed["unconfirmed_contact_email"]) == (NEW, None)
    [entry] = await registers(service).read(PersonEntry, [story.learner_id])
    assert (entry.contact_email, entry.contact_version) == (NEW, 2)
    [changed] = await story.announced(LearnerContactChanged)
    assert changed.contact_version == 2
    letters = await story.session.execute(select(Letter.kind, Letter.recipient).order_by(Letter.letter_id))
    assert [tuple(row) for row in letters] == [("confirm_contact", NEW), ("contact_changed", FORM["contact_email"])]


async def test_only_the_code_that_was_sent_confirms_and_only_once(story, learner):
    refused(await confirm(learner, "AAAAA-AAAAA"), 409, "no_address_to_confirm")
    await ask(learner, "first@example.org")
    former = await story.code()
    await ask(learner)
    for wrong in (former, "AAAAA-AAAAA", "-", "é"):
        refused(await confirm(learner, wrong), 403, "wrong_confirmation_code")
    code = await story.code()
    typed = code.replace("-", " ").lower().replace("0", "o").replace("1", "l")
    assert (await confirm(learner, typed)).json()["contact_email"] == NEW
    refused(await confirm(learner, code), 409, "no_address_to_confirm")


async def test_a_code_holds_for_a_day(story, learner, clock):
    await ask(learner)
    code = await story.code()
    clock.advance(hours=24)
    refused(await confirm(learner, code), 409, "no_address_to_confirm")


async def test_the_address_in_use_gives_the_other_up(story, learner):
    await ask(learner)
    code = await story.code()
    assert (await ask(learner, FORM["contact_email"])).json()["unconfirmed_contact_email"] is None
    refused(await confirm(learner, code), 409, "no_address_to_confirm")


async def test_a_stranger_is_not_flooded_with_codes(story, learner, clock):
    for n in range(5):
        assert (await ask(learner, f"stranger{n}@example.org")).status_code == 200
    answer = await ask(learner, "stranger5@example.org")
    refused(answer, 429, "too_many_confirmations")
    assert int(answer.headers["retry-after"]) > 86000
    clock.at += timedelta(days=1)
    assert (await ask(learner, "stranger5@example.org")).status_code == 200


async def test_of_the_code_a_keyed_digest_is_kept_and_nothing_after_erasure(service, story, learner):
    await ask(learner)
    code = (await story.code()).replace("-", "")
    kept = await story.session.scalar(text("select to_jsonb(c)::text from contact_changes c"))
    assert code not in kept
    await anonymise(service, story.learner_id)
    assert await story.session.scalar(text("select count(*) from contact_changes")) == 0
    assert list(await story.session.scalars(select(Letter.recipient))) == []


async def test_who_is_no_learner_confirms_nothing(service, session):
    async with service.client("learner", id=new_id()) as nobody:
        refused(await confirm(nobody, "AAAAA-AAAAA"), 404, "not_registered")
