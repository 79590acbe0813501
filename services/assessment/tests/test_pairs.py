"""Every two commands on one learner's work at once."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import select

from assessment.handlers import inbox
from assessment.tables import Base, Credit
from shared.events.enrolment import EnrolmentActivated, EnrolmentCancelled, EnrolmentSuspended, LearnerAnonymised
from shared.ids import new_id
from shared.testing.pairs import Pairs

pytestmark = pytest.mark.slow
APPEAL = {"reason_code": "appeal", "minutes_reference": "EB/10"}
MISCONDUCT = {"reason_code": "misconduct", "minutes_reference": "EB/9"}


@dataclass
class Case:
    """One learner's work in a window that is closed; each under a name of its own."""

    window: str
    credit: str
    """Of an earlier window."""
    marked: str
    """Submissions."""
    released: str
    accused: str
    case: str
    """About the accused one, which is marked as well."""
    enrolments: dict[str, EnrolmentActivated]
    open: str
    """A window in which work can still be handed in."""


@pytest.fixture
def driver(live, driver_class):
    driver = driver_class(live, None, live.clock)
    driver.clock.at = driver.opens + timedelta(days=2)
    return driver


async def prepare(driver) -> Case:
    learner = new_id()
    names = ("credited", "marked", "released", "accused", "studying")
    enrolments = {name: await driver.enrol_live(learner_id=learner) for name in names}
    await driver.attempt(enrolments["credited"], 70)
    async with driver.service.process.database.transaction() as session:
        credit = await session.scalar(select(Credit.credit_id))
    driver.clock.advance(minutes=1)
    window = await driver.window()
    handed_in = {}
    for name in names[1:4]:
        handed_in[name] = (await driver.receipt(enrolments[name], window_id=window))["submission_id"]
    await driver.close(window)
    for submission_id in handed_in.values():
        assert (await driver.mark(submission_id, 64)).status_code == 201
    await driver.examiner.post(f"/v1/submissions/{handed_in['released']}/release")
    accusation = {"submission_id": handed_in["accused"], "reason_code": "plagiarism"}
    case = (await driver.examiner.post("/v1/misconduct-cases", json=accusation)).json()["case_id"]
    opened = await driver.window()
    await driver.receipt(enrolments["studying"], window_id=opened)
    return Case(window, credit, **handed_in, case=case, enrolments=enrolments, open=opened)


async def test_no_two_commands_on_one_learners_work_harm_each_other(live, superuser, driver):  # noqa: C901 - a table
    async def consume(event):
        async with live.process.database.transaction() as session:
            await inbox.receive(session, event)

    def ended(kind, name, **more):
        def handle(one):
            of = one.enrolments[name]
            ids = {"enrolment_id": of.enrolment_id, "learner_id": of.learner_id}
            return consume(kind(**ids, **more, reason_code="refunded", sequence=2))

        return handle

    def chair(path, **body):
        return lambda one: driver.chair.post(path.format(**vars(one)), json=body)

    def examiner(path, **body):
        return lambda one: driver.examiner.post(path.format(**vars(one)), json=body)

    def moderate(one):
        return driver.mark(one.marked, 48, driver.chair, stage="moderation")

    def cancel(name):
        def handle(one):
            return ended(
                EnrolmentCancelled, name, course_id=one.enrolments[name].course_id, cancelled_at=driver.clock()
            )(one)

        return handle

    def accuse(one):
        accusation = {"submission_id": one.released, "reason_code": "plagiarism"}
        return driver.examiner.post("/v1/misconduct-cases", json=accusation)

    def erase(one):
        learner = one.enrolments["marked"].learner_id
        return consume(LearnerAnonymised(learner_id=learner, anonymised_at=driver.clock()))

    decision = "/v1/misconduct-cases/{case}/decision"
    commands = {
        "hand in": lambda one: driver.submit(one.enrolments["studying"], b"%PDF-1.7\nanew", window_id=one.open),
        "close window": examiner("/v1/windows/{open}/closing"),
        "moderate": moderate,
        "release one": examiner("/v1/submissions/{marked}/release"),
        "release window": examiner("/v1/windows/{window}/release"),
        "board": lambda one: driver.board(one.window),
        "accuse": accuse,
        "decide case": chair(decision, outcome="resubmit", minutes_reference="AP/3"),
        "drop case": chair(decision, outcome="no_case", minutes_reference="AP/3"),
        "revoke credit": chair("/v1/credits/{credit}/revocation", **MISCONDUCT),
        "reinstate credit": chair("/v1/credits/{credit}/reinstatement", **APPEAL),
        "cancel the marked": cancel("marked"),
        "cancel the accused": cancel("accused"),
        "suspend the released": ended(EnrolmentSuspended, "released", suspended_at=driver.clock()),
        "erase": erase,
    }
    case, busy = await prepare(driver), frozenset({"results_busy"})
    counted = frozenset({"releases.expected", "boards.expected"})
    assert await Pairs(live, Base, superuser, case, commands, busy=busy, counted=counted).faults() == []
