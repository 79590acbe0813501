"""Every two commands on one learner at once."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from enrolment.handlers import inbox
from enrolment.tables import Base
from shared.ids import new_id
from shared.testing.pairs import Pairs

from .people import BODY, FORM, PDF

pytestmark = pytest.mark.slow


@dataclass
class Case:
    learner_id: UUID
    own: AsyncClient
    driver: Any
    request: str
    """A name request that was handed in."""
    code: str
    """It confirms the address asked for."""
    offered: Any
    paid: Any = None
    """The order of an enrolment; none for who may be erased."""
    enrolment: str = ""
    unit: str = ""


@pytest.fixture
def office(live):
    return live.client("registrar", id=new_id())


@pytest.fixture
def prepare(live, new_driver):
    """A learner who asked for another name and another address."""

    async def make(*, enrolled: bool) -> Case:
        driver = new_driver(None)
        driver.service = live
        who = driver.learner_id
        own = live.client("learner", id=who)
        email = f"{who.hex}@example.org"
        assert (await own.post("/v1/learners", json={**FORM, "contact_email": email})).status_code == 201
        request = (await own.post("/v1/name-requests", json=BODY)).json()["request_id"]
        path = f"/v1/name-requests/{request}"
        await own.put(f"{path}/evidence", params={"filename": "deed.pdf"}, content=PDF)
        assert (await own.post(f"{path}/submission")).status_code == 200
        await own.patch("/v1/learners/me", json={"contact_email": f"new.{email}"})
        async with live.process.database.transaction() as driver.session:
            case = Case(who, own, driver, request, await driver.code(), await driver.offer(module_family=new_id().hex))
            if enrolled:
                course = await driver.offer(module_family=new_id().hex)
                materials = driver.materials(course, 1)
                case.paid = driver.payment(course)
                await driver.consume(materials, case.paid)
                case.enrolment = str((await driver.enrolment(case.paid.lines[0].order_line_id)).enrolment_id)
                case.unit = str(materials.units[0].unit_id)
        return case

    return make


@pytest.fixture
def consume(live):
    async def handle(event) -> None:
        async with live.process.database.transaction() as session:
            await inbox.receive(session, event)

    return handle


def rename(one):
    return one.own.patch("/v1/learners/me", json={"display_name": "Ada"})


@pytest.fixture
def decide(office):
    decision = {"approved": True, "reason": "Shown."}
    return lambda one: office.post(f"/v1/name-requests/{one.request}/decision", json=decision)


async def test_no_two_commands_about_a_person_harm_each_other(live, superuser, prepare, office, consume, decide):
    commands = {
        "rename": rename,
        "move": lambda one: one.own.patch("/v1/learners/me", json={"contact_email": "else@example.org"}),
        "send code": lambda one: one.own.post("/v1/learners/me/contact-email/codes"),
        "confirm": lambda one: one.own.put("/v1/learners/me/contact-email", json={"code": one.code}),
        "open request": lambda one: one.own.post("/v1/name-requests", json=BODY),
        "withdraw request": lambda one: one.own.post(f"/v1/name-requests/{one.request}/withdrawal"),
        "decide request": decide,
        "pay": lambda one: consume(one.driver.payment(one.offered)),
        "erase": lambda one: office.put(f"/v1/learners/{one.learner_id}/anonymisation"),
    }
    assert await Pairs(live, Base, superuser, await prepare(enrolled=False), commands).faults() == []


async def test_no_two_commands_about_an_enrolment_harm_each_other(live, superuser, prepare, office, consume, decide):
    def progress(one):
        path = f"/v1/enrolments/{one.enrolment}/units/{one.unit}/progress"
        return one.own.put(path, json={"status": "finished"})

    commands = {
        "rename": rename,
        "decide request": decide,
        "progress": progress,
        "pay": lambda one: consume(one.driver.payment(one.offered)),
        "withdraw": lambda one: one.own.post(f"/v1/enrolments/{one.enrolment}/withdrawal"),
        "reinstate": lambda one: office.post(
            f"/v1/enrolments/{one.enrolment}/reinstatement", json={"reason_code": "appeal"}
        ),
        "lose money": lambda one: consume(one.driver.reversal(one.paid)),
        "refund": lambda one: consume(one.driver.refund(one.paid)),
        "dispute": lambda one: consume(one.driver.dispute(one.paid)),
    }
    assert await Pairs(live, Base, superuser, await prepare(enrolled=True), commands).faults() == []
