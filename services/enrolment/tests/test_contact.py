"""A contact address is used once the code that was sent there has come back; the first one at once, unconfirmed."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from enrolment.tables import ContactChange
from shared.directory import PersonEntry
from shared.events.enrolment import LearnerContactChanged
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail

from .people import FORM, anonymise, directory, refused

NEW = "ada.reid@example.org"
FIRST = FORM["contact_email"]
CODES = "/v1/learners/me/contact-email/codes"


@pytest.fixture
async def learner(service, driver):
    async with service.client("learner", id=driver.learner_id) as client:
        await client.post("/v1/learners", json=FORM)
        yield client


async def ask(learner, email=NEW):
    return await learner.patch("/v1/learners/me", json={"contact_email": email})


async def confirm(learner, code):
    return await learner.put("/v1/learners/me/contact-email", json={"code": code})


async def test_another_address_moves_nothing_before_it_is_confirmed(service, driver, learner):
    asked = (await ask(learner)).json()
    assert (asked["contact_email"], asked["unconfirmed_contact_email"]) == (FORM["contact_email"], NEW)
    [entry] = await directory(service).read(PersonEntry, [driver.learner_id])
    assert (entry.contact_email, entry.contact_version) == (FORM["contact_email"], 1)
    assert await driver.announced(LearnerContactChanged) == []

    confirmed = (await confirm(learner, await driver.code())).json()
    assert (confirmed["contact_email"], confirmed["unconfirmed_contact_email"]) == (NEW, None)
    [entry] = await directory(service).read(PersonEntry, [driver.learner_id])
    assert (entry.contact_email, entry.contact_version) == (NEW, 2)
    [changed] = await driver.announced(LearnerContactChanged)
    assert changed.contact_version == 2
    emails = await driver.session.execute(
        select(QueuedEmail.kind, QueuedEmail.recipient).order_by(QueuedEmail.email_id)
    )
    assert [tuple(row) for row in emails] == [
        ("confirm_contact", FIRST),
        ("confirm_contact", NEW),
        ("contact_changed", FIRST),
    ]


async def test_only_the_code_that_was_sent_confirms_and_only_once(driver, learner):
    assert (await confirm(learner, await driver.code())).status_code == 200
    refused(await confirm(learner, "AAAAA-AAAAA"), 409, "no_address_to_confirm")
    await ask(learner, "first@example.org")
    former = await driver.code()
    await ask(learner)
    for wrong in (former, "AAAAA-AAAAA", "-", "é"):
        refused(await confirm(learner, wrong), 403, "wrong_confirmation_code")
    code = await driver.code()
    typed = code.replace("-", " ").lower().replace("0", "o").replace("1", "l")
    assert (await confirm(learner, typed)).json()["contact_email"] == NEW
    refused(await confirm(learner, code), 409, "no_address_to_confirm")


async def test_a_code_holds_for_a_day(driver, learner, clock):
    await ask(learner)
    code = await driver.code()
    clock.advance(hours=24)
    refused(await confirm(learner, code), 409, "no_address_to_confirm")


@pytest.mark.parametrize("end", ["infinity", "-infinity", "9999-12-31T23:59:59Z"])
async def test_a_code_that_was_sent_at_the_end_of_the_calendar_holds_no_longer_and_another_is_sent(
    driver, learner, end
):
    await ask(learner)
    code = await driver.code()
    await driver.session.execute(text(f"update contact_changes set asked_at = '{end}', counted_since = '{end}'"))
    driver.session.expire_all()
    refused(await confirm(learner, code), 409, "no_address_to_confirm")
    assert (await learner.post(CODES)).is_success
    assert (await confirm(learner, await driver.code())).json()["contact_email"] == NEW


async def test_the_address_in_use_gives_the_other_up(driver, learner):
    await ask(learner)
    code = await driver.code()
    assert (await ask(learner, FORM["contact_email"])).json()["unconfirmed_contact_email"] is None
    refused(await confirm(learner, code), 409, "no_address_to_confirm")


async def test_a_stranger_is_not_flooded_with_codes(driver, learner, clock):
    for n in range(4):  # the first code was sent at registration
        assert (await ask(learner, f"stranger{n}@example.org")).status_code == 200
    answer = await ask(learner, "stranger5@example.org")
    refused(answer, 429, "too_many_confirmations")
    refused(await learner.post(CODES), 429, "too_many_confirmations")
    assert int(answer.headers["retry-after"]) > 86000
    clock.at += timedelta(days=1)
    assert (await ask(learner, "stranger5@example.org")).status_code == 200


async def test_of_the_code_a_keyed_digest_is_kept_and_nothing_after_erasure(service, driver, learner):
    await ask(learner, "given.up@example.org")
    await ask(learner)
    code = (await driver.code()).replace("-", "")
    kept = await driver.session.scalar(text("select to_jsonb(c)::text from contact_changes c"))
    assert code not in kept
    await anonymise(service, driver.learner_id)
    assert await driver.session.scalar(text("select count(*) from contact_changes")) == 0
    assert list(await driver.session.scalars(select(QueuedEmail.recipient))) == []


async def test_who_is_no_learner_confirms_nothing(service, session):
    async with service.client("learner", id=new_id()) as nobody:
        refused(await confirm(nobody, "AAAAA-AAAAA"), 404, "not_registered")
        refused(await nobody.post(CODES), 404, "not_registered")


# --- the first address


async def entry_of(service, learner_id):
    [entry] = await directory(service).read(PersonEntry, [learner_id])
    return entry.contact_email, entry.contact_confirmed, entry.contact_version


def shown(answer):
    assert answer.status_code in {200, 201}, answer.text
    content = answer.json()
    return content["contact_email"], content["email_confirmed"], content["unconfirmed_contact_email"]


async def test_the_first_address_is_unconfirmed_until_its_code_comes_back(service, driver, learner):
    assert shown(await learner.get("/v1/learners/me")) == (FIRST, False, FIRST)
    assert await entry_of(service, driver.learner_id) == (FIRST, False, 1)
    assert shown(await confirm(learner, await driver.code())) == (FIRST, True, None)
    assert await entry_of(service, driver.learner_id) == (FIRST, True, 2)
    [announced] = await driver.announced(LearnerContactChanged)
    assert announced.contact_version == 2
    kinds = await driver.session.scalars(select(QueuedEmail.kind))
    assert list(kinds) == ["confirm_contact"]  # nobody moved
    refused(await learner.post(CODES), 409, "no_address_to_confirm")


async def test_another_code_is_sent_and_the_former_one_ends(driver, learner, clock):
    former = await driver.code()
    clock.advance(hours=24)
    refused(await confirm(learner, former), 409, "no_address_to_confirm")
    answer = await learner.post(CODES)
    assert (answer.status_code, answer.content) == (204, b"")
    refused(await confirm(learner, former), 403, "wrong_confirmation_code")
    assert shown(await confirm(learner, await driver.code())) == (FIRST, True, None)


async def test_who_changes_before_confirming_confirms_the_new_address(service, driver, learner):
    first_code = await driver.code()
    assert shown(await ask(learner)) == (FIRST, False, NEW)
    refused(await confirm(learner, first_code), 403, "wrong_confirmation_code")
    await learner.post(CODES)  # goes to the one that waits
    assert (
        await driver.session.scalar(select(QueuedEmail.recipient).order_by(QueuedEmail.email_id.desc()).limit(1)) == NEW
    )
    assert shown(await confirm(learner, await driver.code())) == (NEW, True, None)
    assert await entry_of(service, driver.learner_id) == (NEW, True, 2)


async def test_who_gives_the_new_address_up_confirms_the_first(driver, learner):
    await ask(learner)
    assert shown(await ask(learner, FIRST)) == (FIRST, False, None)
    assert shown(await ask(learner, FIRST)) == (FIRST, False, None)  # keeping it sends nothing
    await learner.post(CODES)
    assert shown(await confirm(learner, await driver.code())) == (FIRST, True, None)
    recipients = await driver.session.scalars(select(QueuedEmail.recipient).order_by(QueuedEmail.email_id))
    assert list(recipients) == [FIRST, NEW, FIRST]


async def test_a_code_is_tried_ten_times(driver, learner):
    code = await driver.code()
    for _ in range(10):
        refused(await confirm(learner, "AAAAA-AAAAA"), 403, "wrong_confirmation_code")
    refused(await confirm(learner, code), 409, "no_address_to_confirm")
    await learner.post(CODES)
    assert shown(await confirm(learner, await driver.code())) == (FIRST, True, None)


async def test_the_tries_are_kept_though_they_are_refused(live):
    learner_id = new_id()
    async with live.client("learner", id=learner_id) as client:
        await client.post("/v1/learners", json=FORM)
        for _ in range(2):
            refused(await confirm(client, "AAAAA-AAAAA"), 403, "wrong_confirmation_code")
    async with live.process.database.reads() as session:
        assert await session.scalar(select(ContactChange.tries)) == 2


async def test_a_learner_who_registered_with_the_previous_release_has_a_code_sent(driver, learner):
    await driver.session.execute(text("delete from contact_changes"))
    assert shown(await learner.get("/v1/learners/me")) == (FIRST, False, None)
    assert (await learner.post(CODES)).status_code == 204
    assert shown(await confirm(learner, await driver.code())) == (FIRST, True, None)


async def test_the_anonymised_confirm_nothing(service, driver, learner):
    code = await driver.code()
    await anonymise(service, driver.learner_id)
    refused(await confirm(learner, code), 404, "not_registered")
    refused(await learner.post(CODES), 404, "not_registered")
