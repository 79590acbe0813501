"""What waits for finance is measured, so that somebody is called."""

from prometheus_client import REGISTRY

from payments.jobs import measure_what_waits, submit_refunds
from payments.tables import UnmatchedPayment
from shared.ids import new_id

from .disputes import close, delivered, dispute


async def measured(driver):
    await driver.run(measure_what_waits)
    names = "payments_unmatched", "refunds_failed", "refunds_delayed", "disputes_open"
    return [REGISTRY.get_sample_value(name) for name in names]


async def test_what_waits_for_finance_is_counted_until_it_is_over(driver):
    assert await measured(driver) == [0, 0, 0, 0]
    at = driver.clock()
    unmatched = UnmatchedPayment(
        unmatched_id=new_id(), provider="flywire", reference="R1", reason="unknown_reference", first_at=at, last_at=at
    )
    driver.session.add(unmatched)
    await driver.session.flush()
    order, _ = await delivered(driver, await driver.sell())
    disputed, _ = await delivered(driver, await driver.sell())
    opened = await dispute(driver, disputed)
    failure = {"operation": "create_refund", "times": 1, "seconds": 0, "takes_effect": False}
    (await driver.control.post("/control/failures", json=failure)).raise_for_status()
    await driver.refund(order)
    await driver.run(submit_refunds)
    assert await measured(driver) == [1, 0, 1, 1]

    await driver.later(hours=73)
    await driver.run(submit_refunds)
    unmatched.ended_at = at
    assert (await close(driver, opened.json()["dispute_id"], "won")).status_code == 200
    await driver.session.flush()
    assert await measured(driver) == [0, 1, 0, 0]
