"""What a board has decided on goes back by finance alone, and what was passed is not sold again."""

from datetime import timedelta
from uuid import UUID

import pytest

from shared.events.assessment import CreditAwarded, CreditRevoked, FailRatified
from shared.events.enrolment import EnrolmentCancelled
from shared.events.payments import RefundRequested
from shared.ids import new_id

from .enrolments import AT, activated


def ratified(
    kind: type[CreditAwarded | FailRatified], enrolment_id: UUID, learner_id: UUID
) -> CreditAwarded | FailRatified:
    values = {
        **{name: new_id() for name in ("credit_id", "submission_id", "course_id", "course_version_id")},
        **{name: new_id() for name in ("subject_id", "board_id")},
        **dict.fromkeys(("course_code", "course_title", "module_family", "subject_name"), "7DS01"),
        "learner_id": learner_id,
        "enrolment_id": enrolment_id,
        "credits": 15,
        "level": 7,
        "mark": "40",
        "attempt_no": 1,
        "regulations_version": "mc-regs-2026.2",
        "ratified_at": AT,
    }
    return kind(**{name: values[name] for name in kind.model_fields})


@pytest.mark.parametrize("kind", [CreditAwarded, FailRatified])
@pytest.mark.parametrize("result_first", [False, True])
async def test_a_course_whose_result_was_ratified_is_not_given_back_by_its_learner(driver, kind, result_first):
    order, _ = await driver.buy(await driver.sell(), await driver.sell())
    began, other = activated(order), activated(order, line=1)
    result = ratified(kind, began.enrolment_id, driver.learner_id)
    await driver.consume(other, *((result, began) if result_first else (began, result)), result)
    answer = await driver.refund(order)
    assert (answer.status_code, answer.json()["code"]) == (409, "result_ratified"), answer.text
    assert not await driver.announced(RefundRequested)
    assert (await driver.refund(order, line=1)).status_code == 201, "its sibling is"


async def grant(driver, order, reason="complaint", *, line=0, by=None):
    path = f"/v1/orders/{order['order_id']}/lines/{order['lines'][line]['order_line_id']}/granted-refund"
    async with driver.service.client("finance", id=by or new_id()) as finance:
        return await finance.post(path, json={"reason_code": reason})


async def test_an_order_says_that_a_result_was_ratified_instead_of_until_when_it_goes_back(driver):
    order, _ = await driver.buy(await driver.sell(), await driver.sell())
    began = activated(order)
    await driver.consume(
        began, activated(order, line=1), ratified(CreditAwarded, began.enrolment_id, driver.learner_id)
    )
    lines = (await driver.read(order))["lines"]
    assert [(one["result_ratified"], one["refundable_until"] is None) for one in lines] == [
        (True, True),
        (False, False),
    ]
    async with driver.learner() as client:
        assert (await client.get("/v1/orders")).json()["items"][0]["lines"] == lines


@pytest.mark.parametrize("reason", ["goodwill", "complaint"])
async def test_finance_gives_it_back_at_any_time_and_says_who_decided(driver, reason):
    order, _ = await driver.buy(await driver.sell(), await driver.sell())
    began, by = activated(order), new_id()
    await driver.consume(began, ratified(CreditAwarded, began.enrolment_id, driver.learner_id))
    driver.clock.advance(days=100)
    granted = await grant(driver, order, reason, by=by)
    assert granted.status_code == 201, granted.text
    assert (granted.json()["reason_code"], granted.json()["amount"]["amount_minor"]) == (reason, 49500)
    [announced] = await driver.announced(RefundRequested)
    assert (str(announced.order_line_id), announced.decided_by) == (order["lines"][0]["order_line_id"], str(by))
    again = await grant(driver, order, reason)
    assert (again.status_code, again.json()["code"]) == (409, "refund_already_requested")


async def test_what_a_learner_gives_back_nobody_decided(driver):
    order, _ = await driver.buy(await driver.sell())
    assert (await driver.refund(order)).status_code == 201
    [announced] = await driver.announced(RefundRequested)
    assert announced.decided_by is None


async def test_why_finance_cannot_give_a_line_back(driver):
    unpaid = await driver.order(await driver.sell())
    refused = await grant(driver, unpaid)
    assert (refused.status_code, refused.json()["code"]) == (409, "order_not_paid")
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    async with driver.service.client("finance") as finance:
        case = {"order_id": order["order_id"], "reason_code": "not_recognised", "case_reference": "CB-17"}
        (await finance.post("/v1/disputes", json=case)).raise_for_status()
    refused = await grant(driver, order)
    assert (refused.status_code, refused.json()["code"]) == (409, "order_in_dispute")
    assert (await grant(driver, order | {"lines": unpaid["lines"]})).status_code == 404
    assert (await grant(driver, order, "cooling_off")).status_code == 422


@pytest.mark.parametrize("kind", [CreditAwarded, FailRatified])
async def test_what_was_passed_is_not_sold_again_while_its_credit_stands_whatever_became_of_the_money(driver, kind):
    course_id = await driver.sell()
    order, _ = await driver.buy(course_id)
    began = activated(order, learner_id=driver.learner_id)
    result = ratified(kind, began.enrolment_id, driver.learner_id)
    await driver.consume(began, result)
    (await grant(driver, order)).raise_for_status()
    ended = EnrolmentCancelled(
        enrolment_id=began.enrolment_id,
        learner_id=driver.learner_id,
        course_id=UUID(str(course_id)),
        reason_code="refunded",
        sequence=2,
        cancelled_at=AT,
    )
    await driver.consume(ended, *([ratified(FailRatified, began.enrolment_id, driver.learner_id)]))
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        answer = await client.post("/v1/orders")
    if kind is FailRatified:
        assert answer.status_code == 201
        return
    assert (answer.status_code, answer.json()["code"]) == (409, "already_bought")
    assert isinstance(result, CreditAwarded)
    revoked = {"credit_id": result.credit_id, "learner_id": driver.learner_id, "enrolment_id": began.enrolment_id}
    revoked |= {"reason_code": "error", "board_id": new_id(), "revision": 1, "revoked_at": AT + timedelta(days=1)}
    await driver.consume(CreditRevoked(**revoked))
    async with driver.learner() as client:
        assert (await client.post("/v1/orders")).status_code == 201
