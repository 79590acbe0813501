"""Credit on its way into a degree elsewhere, in the study record."""

from itertools import permutations

import pytest
from sqlalchemy import select

from enrolment.domain import facts as kinds
from enrolment.domain.facts import Fact
from enrolment.tables import StoredEvent
from shared.events.credentials import LineDecided, TransferDecided, TransferRequested
from shared.ids import new_id

from .conftest import T0
from .facts import fact, uid
from .study_facts import record

KEPT, LEFT = str(uid(30)), str(uid(31))


def transfer(kind: type[Fact], hours: float, **data) -> Fact:
    return fact(kind, hours=hours, subject=uid(80), programme_id=uid(81), **data)


def decided(*outcomes: str) -> Fact:
    lines = [{"credit_id": one, "outcome": outcome} for one, outcome in zip((KEPT, LEFT), outcomes, strict=True)]
    return transfer(kinds.TransferDecided, 2, decisions=lines)


REQUESTED = transfer(kinds.TransferRequested, 1, credit_ids=[KEPT, LEFT])
ACCEPTED = decided("partial", "refuse")
COMPLETED = transfer(kinds.TransferCompleted, 3, credit_ids=[KEPT])
RETURNED = transfer(kinds.TransferReturned, 3, credit_ids=[KEPT], reason_code="left_programme")
WITHDRAWN = transfer(kinds.TransferWithdrawn, 2, reason_code="not_decided_in_time")


@pytest.mark.parametrize(
    ("facts", "status", "reason_code", "accepted"),
    [
        ([REQUESTED], "requested", None, ()),
        ([REQUESTED, WITHDRAWN], "withdrawn", "not_decided_in_time", ()),
        ([REQUESTED, ACCEPTED], "accepted", None, (uid(30),)),
        ([REQUESTED, decided("refuse", "refuse")], "refused", None, ()),
        ([REQUESTED, ACCEPTED, COMPLETED], "completed", None, (uid(30),)),
        ([REQUESTED, ACCEPTED, RETURNED], "returned", "left_programme", (uid(30),)),
    ],
)
def test_a_transfer_has_the_state_of_its_last_fact_in_any_order(facts, status, reason_code, accepted):
    for order in permutations(facts):
        [only] = record(order).transfers
        assert (only.status, only.reason_code, only.accepted_credit_ids) == (status, reason_code, accepted)
        assert only.credit_ids == (uid(30), uid(31))


def test_of_a_transfer_whose_request_has_not_arrived_nothing_is_shown_yet():
    assert record([ACCEPTED]).transfers == ()


async def test_what_became_of_a_transfer_is_read_with_the_record(service, driver):
    await driver.register()
    who = {"transfer_id": new_id(), "learner_id": driver.learner_id, "client_id": "p", "programme_id": new_id()}
    credit_id = new_id()
    request = TransferRequested(**who, share_id=new_id(), credit_ids=(credit_id,), decide_by=T0, requested_at=T0)
    line = LineDecided(credit_id=credit_id, outcome="accept", credits_recognised=15, reason_code="mapped")
    decision = TransferDecided(**who, decisions=(line,), decided_at=T0)
    await driver.consume(decision, request, decision)
    async with service.client("learner", id=driver.learner_id) as client:
        [seen] = (await client.get("/v1/study-record")).json()["transfers"]
    assert (seen["transfer_id"], seen["status"]) == (str(who["transfer_id"]), "accepted")
    assert seen["accepted_credit_ids"] == [str(credit_id)]
    await driver.assert_record_stands()


async def test_a_fact_that_a_later_release_keeps_does_not_stop_this_one(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    kept = (await driver.session.scalars(select(StoredEvent))).one()
    row = {name: getattr(kept, name) for name in ("learner_id", "subject", "at", "data", "kept_at")}
    driver.session.add(StoredEvent(fact_id=new_id(), type="later.release.said.v1", **row))
    await driver.consume(driver.reversal(paid))
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "suspended"
    await driver.assert_record_stands()
