"""The directory of people, as another service reads it."""

import httpx
import pytest
from sqlalchemy import text

from enrolment.tables import Name
from shared.directory import DirectoryUnreachable, HttpDirectory, PersonEntry
from shared.events.enrolment import LearnerAnonymised, LearnerContactChanged, LearnerNameChanged
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail

from .people import FORM, anonymise, directory


@pytest.fixture
async def learner(service, driver):
    async with service.client("learner", id=driver.learner_id) as client:
        await client.post("/v1/learners", json=FORM)
        yield client


async def test_the_register_tells_the_name_and_the_address_in_use(service, driver, learner, clock):
    await learner.patch("/v1/learners/me", json={"family_name": "Okonkwo-Reid"})
    await learner.patch("/v1/learners/me", json={"contact_email": "ada.reid@example.org"})
    await learner.put("/v1/learners/me/contact-email", json={"code": await driver.code()})
    [entry] = await directory(service).read(PersonEntry, [new_id(), driver.learner_id])
    assert entry == PersonEntry(
        learner_id=driver.learner_id,
        name_version=2,
        contact_version=2,
        family_name="Okonkwo-Reid",
        given_name="Adaeze",
        display_name="Adaeze Okonkwo-Reid",
        contact_email="ada.reid@example.org",
        contact_confirmed=True,
    )
    [named] = await driver.announced(LearnerNameChanged)
    [contacted] = await driver.announced(LearnerContactChanged)
    assert named == LearnerNameChanged(learner_id=driver.learner_id, name_version=2, changed_at=clock())
    assert contacted == LearnerContactChanged(learner_id=driver.learner_id, contact_version=2, changed_at=clock())


async def test_what_did_not_change_is_not_announced(service, driver, learner):
    await learner.patch("/v1/learners/me", json={"contact_email": FORM["contact_email"], "family_name": "Okonkwo"})
    await learner.patch("/v1/learners/me", json={"country": "NG"})
    assert await driver.announced(LearnerNameChanged, LearnerContactChanged) == []


async def test_no_event_holds_a_name_or_an_address(driver, learner):
    await learner.patch("/v1/learners/me", json={"family_name": "Okonkwo-Reid", "contact_email": "new@example.org"})
    await learner.put("/v1/learners/me/contact-email", json={"code": await driver.code()})
    said = "".join(event.model_dump_json() for event in await driver.announced())
    assert "Okonkwo" not in said
    assert "@" not in said


@pytest.mark.parametrize("secret", ["", "wrong", "tes"])
async def test_who_does_not_know_the_secret_reads_nothing(service, learner, secret):
    with pytest.raises(DirectoryUnreachable, match="401"):
        await directory(service, secret).read(PersonEntry, [new_id()])


@pytest.mark.parametrize(
    ("register", "keys", "status", "code"),
    [
        ("people", 0, 422, "invalid_request"),
        ("people", 101, 422, "invalid_request"),
        ("orders", 1, 404, "not_found"),
    ],
)
async def test_what_a_directory_refuses(service, session, register, keys, status, code):
    async with service.client() as client:
        answer = await client.get(
            f"/internal/registers/{register}",
            params=[("key", str(new_id())) for _ in range(keys)],
            headers={"Authorization": "Bearer test"},
        )
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("status", [200, 503])
async def test_an_owner_who_does_not_answer_in_its_terms_is_unreachable(service, status):
    with pytest.raises(DirectoryUnreachable):
        await directory(service, status=status).read(PersonEntry, [new_id()])
    with pytest.raises(DirectoryUnreachable):
        await HttpDirectory({}, "test", httpx.AsyncClient()).read(PersonEntry, [new_id()])


# --- erasure


async def test_the_anonymised_have_no_entry_no_name_and_no_address(service, driver, learner, clock):
    await learner.patch("/v1/learners/me", json={"family_name": "Okonkwo-Reid"})
    answer = await anonymise(service, driver.learner_id)
    at = "2026-11-23T12:00:00Z"
    assert (answer.status_code, answer.json()) == (200, {"learner_id": str(driver.learner_id), "anonymised_at": at})
    assert await directory(service).read(PersonEntry, [driver.learner_id]) == []
    kept = (await driver.session.execute(text("select row_to_json(l)::text from learners l"))).scalar_one()
    assert "ada@" not in kept
    assert "1993" not in kept
    assert await driver.session.scalar(text("select count(*) from names")) == 0
    assert (await learner.get("/v1/learners/me")).json()["code"] == "not_registered"
    assert (await learner.patch("/v1/learners/me", json={"family_name": "Back"})).json()["code"] == "not_registered"


async def test_erasure_repeated_erases_what_was_written_since_and_is_announced_again(service, driver, learner, clock):
    first = await anonymise(service, driver.learner_id)
    clock.advance(days=1)
    sent = {"recipient": "", "subject": "", "text": "", "sent_at": clock(), "created_at": clock()}
    driver.session.add(QueuedEmail(email_id=new_id(), kind="k", about="of somebody else", **sent))
    late = {"learner_id": driver.learner_id, "version": 9, "family_name": "Late", "display_name": "L"}
    driver.session.add(Name(**late, valid_from=clock()))
    await driver.session.flush()
    assert (await anonymise(service, driver.learner_id)).json() == first.json()
    announced = await driver.announced(LearnerAnonymised)
    assert [(one.learner_id, one.anonymised_at) for one in announced] == [
        (driver.learner_id, announced[0].anonymised_at)
    ] * 2
    assert await driver.session.scalar(text("select count(*) from names")) == 0
    assert await driver.session.scalar(text("select count(*) from letters where kind = 'k'")) == 1


async def test_somebody_who_studies_is_not_anonymised(service, driver, learner):
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    answer = await anonymise(service, driver.learner_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "still_enrolled")
    assert await driver.announced(LearnerAnonymised) == []


async def test_nobody_unknown_is_anonymised(service, session):
    answer = await anonymise(service, new_id())
    assert (answer.status_code, answer.json()["code"]) == (404, "not_registered")


async def test_the_anonymised_are_left_out_of_the_comparison(service, driver):
    await driver.register()
    await anonymise(service, driver.learner_id)
    async with service.client("operator") as operator:
        answer = await operator.get("/v1/study-record-comparison")
    assert (answer.status_code, answer.json()["compared"]) == (200, 0)
