"""Money that was taken back before a database, put back from a copy, knew that it had come: its order is only placed
there, and enrolment has opened it."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import update

from payments.jobs import ask_about_payments, compare_with_provider, follow_refunds, submit_refunds
from payments.jobs.asking import take_in_payment
from payments.tables import Order, Payment
from shared.events.payments import PaymentConfirmed, PaymentRestored, PaymentReversed
from shared.ids import id_of, new_id
from shared.jobs import Work

from .disputes import dispute
from .endings import end, grant
from .enrolments import activated
from .orders import order_anew, said, transfer
from .unknown_refunds import close, paid

DIED = (("processed", "cancelled"), ("processed", "failed"), ("guaranteed", "reversed"), ("delivered", "reversed"))


async def silent(driver) -> None:
    """What the provider reports from now on is lost with the history."""
    await driver.control.put("/control/callbacks", json={"mode": "drop"})


async def paid_unseen(driver, order, statuses=(), **body) -> str:
    """A payment of which this database knows nothing; its reference."""
    answer = await driver.checkout(order, payer={"email": f"{new_id()}@example.org"})
    session_id = answer.json()["pay_url"].rpartition("/")[2]
    await silent(driver)
    reference = (await driver.pay(session_id, **body))["payment_id"]
    driver.sandbox.payment(reference)["plan"] = []
    for status in statuses:
        driver.clock.advance(seconds=1)
        await driver.status(reference, status)
    return reference


async def opened(driver, order) -> list[UUID]:
    """The enrolments of the order's lines, of which this database hears."""
    begun = [activated(order, line, learner_id=driver.learner_id) for line in range(len(order["lines"]))]
    await driver.consume(*begun)
    return [one.enrolment_id for one in begun]


async def compare(driver) -> None:
    driver.clock.advance(days=1, minutes=1)
    await driver.run(compare_with_provider)


async def told(driver) -> list[type]:
    return [type(event) for event in await driver.announced(PaymentConfirmed, PaymentReversed, PaymentRestored)]


async def expire(driver, order) -> None:
    this = Order.order_id == UUID(order["order_id"])
    values = {"status": "expired", "expires_at": driver.clock() - timedelta(days=1)}
    await driver.session.execute(update(Order).where(this).values(values))


async def leave(driver, order) -> None:
    (await driver.cancel(order)).raise_for_status()


async def nothing(driver, order) -> None:
    pass


@pytest.mark.parametrize("ending", [nothing, expire, leave])
@pytest.mark.parametrize("statuses", DIED)
async def test_a_loss_of_forgotten_money_suspends_and_can_be_paid_again(driver, statuses, ending):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    reference = await paid_unseen(driver, order, statuses)
    await ending(driver, order)
    await opened(driver, order)
    assert said(await order_anew(driver, course_id)) == (409, "already_bought")
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed]
    [confirmed, lost] = await driver.announced(PaymentConfirmed, PaymentReversed)
    assert confirmed.payment_id == lost.payment_id
    assert lost.reversed_at >= confirmed.confirmed_at
    assert [str(line.order_line_id) for line in lost.lines] == [order["lines"][0]["order_line_id"]]
    shown = await driver.read(order)
    assert (shown["status"], [one["status"] for one in shown["payments"]]) == ("reversed", ["lost"])
    assert shown["receipt_number"]
    assert await driver.balances() == {}
    assert await driver.unmatched() == {}
    assert said(await order_anew(driver, course_id)) == (409, "already_ordered")
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed], "once"

    again = await paid_unseen(driver, order, ["delivered"])
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed, PaymentRestored]
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    assert again != reference


async def test_it_is_noticed_too_where_the_copy_knows_of_a_transfer_that_is_on_its_way(driver):
    order = await driver.order(await driver.sell())
    reference = await transfer(driver, order)
    await opened(driver, order)
    await silent(driver)
    for status in ("delivered", "reversed"):
        driver.clock.advance(seconds=1)
        await driver.status(reference, status)
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed]


async def test_it_is_noticed_too_where_the_enrolment_is_heard_of_last(driver):
    order = await driver.order(await driver.sell())
    await paid_unseen(driver, order, ["delivered", "reversed"])
    await compare(driver)
    assert await told(driver) == [], "nothing was opened that we know of"
    assert (await driver.read(order))["status"] in {"placed", "expired"}
    await opened(driver, order)
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed]


@pytest.mark.parametrize("taken", ["failed", "reversed"])
async def test_a_payment_beside_the_one_that_pays_is_no_loss(driver, taken):
    """As a card that was declined before another one was charged."""
    order = await driver.order(await driver.sell())
    dead = await paid_unseen(driver, order, [taken])
    paying = await paid_unseen(driver, order, ["delivered"], method="bank_transfer")
    await opened(driver, order)
    await take_in_payment(Work(driver.service.process.database, driver.service.service.resources), dead)
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed]
    shown = await driver.read(order)
    assert (shown["status"], {one["reference"]: one["status"] for one in shown["payments"]}[paying]) == (
        "paid",
        "paid_out",
    )


async def too_little(driver, order, course_id, **body) -> str:
    reference = await paid_unseen(driver, order, ["delivered"], **{"amount": 48000, **body})
    await compare(driver)
    return reference


async def too_little_and_disputed(driver, order, course_id) -> str:
    reference = await too_little(driver, order, course_id)
    assert (await dispute(driver, order, payment_reference=reference)).status_code == 201
    return reference


async def less_than_it_was(driver, order, course_id) -> str:
    reference = await too_little(driver, order, course_id)
    driver.sandbox.payment(reference)["amount_to"] = 47000
    return reference


async def too_little_and_goes_back(driver, order, course_id) -> str:
    reference = await too_little(driver, order, course_id)
    await leave(driver, order)
    return reference


async def nothing_at_all(driver, order, course_id) -> str:
    return await too_little(driver, order, course_id, amount=0)


async def too_late(driver, order, course_id) -> str:
    reference = await paid_unseen(driver, order, ["delivered"])
    await driver.withdraw(course_id)
    await expire(driver, order)
    await compare(driver)
    return reference


BESIDE = (too_little, too_little_and_disputed, less_than_it_was, too_little_and_goes_back, nothing_at_all, too_late)


@pytest.mark.parametrize("beside", BESIDE)
async def test_money_that_is_there_and_does_not_pay_hides_no_loss(driver, beside):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    lost = await paid_unseen(driver, order, ["delivered", "reversed"])
    other = await beside(driver, order, course_id)
    await opened(driver, order)
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed]
    shown = await driver.read(order)
    assert shown["status"] == "reversed"
    assert {one["reference"]: one["status"] for one in shown["payments"]}[lost] == "lost"
    received = driver.sandbox.payment(other)["amount_to"]
    assert sum(one["amount"]["amount_minor"] for one in shown["returned"]) == received, "it goes back"

    await paid_unseen(driver, order, ["delivered"])
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed, PaymentRestored]
    assert (await driver.read(order))["status"] == "paid"


@pytest.mark.parametrize(
    ("statuses", "body", "announced"),
    [
        (["cancelled"], {}, [PaymentConfirmed, PaymentReversed]),
        (["delivered"], {"amount": 48000}, [PaymentConfirmed, PaymentReversed]),
        (["delivered"], {"amount": 0}, [PaymentConfirmed, PaymentReversed]),
        (["delivered"], {}, [PaymentConfirmed]),
    ],
)
async def test_it_is_asked_again_once_what_was_on_its_way_has_ended(driver, statuses, body, announced):
    order = await driver.order(await driver.sell())
    await paid_unseen(driver, order, ["delivered", "reversed"])
    other = await paid_unseen(driver, order, method="bank_transfer", **body)
    await opened(driver, order)
    await compare(driver)
    driver.clock.advance(days=20)
    await compare(driver)
    assert await told(driver) == [], "it may pay"
    for status in statuses:
        await driver.status(other, status)
    await driver.run(ask_about_payments)
    await compare(driver)
    assert await told(driver) == announced
    assert (await driver.read(order))["status"] == ("paid" if announced == [PaymentConfirmed] else "reversed")


async def test_a_sum_that_changed_before_it_was_taken_back_hides_no_loss(driver):
    order = await driver.order(await driver.sell())
    reference = await paid_unseen(driver, order, ["delivered"])
    driver.sandbox.payment(reference)["amount_to"] = 48000
    await driver.status(reference, "reversed")
    await opened(driver, order)
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed]
    assert await driver.balances() == {}


async def test_nothing_is_held_to_be_forgotten_while_a_payment_in_the_list_cannot_be_read(driver, monkeypatch):
    """It may be the one that pays."""
    order = await driver.order(await driver.sell())
    await paid_unseen(driver, order, ["failed"])
    paying = await paid_unseen(driver, order, ["delivered"])
    await opened(driver, order)
    fetch = driver.provider.fetch_payment

    async def sick(reference):
        if reference == paying:
            raise ValueError("sick")
        return await fetch(reference)

    monkeypatch.setattr(driver.provider, "fetch_payment", sick)
    await compare(driver)
    assert await told(driver) == []
    assert [one["status"] for one in (await driver.read(order))["payments"]] == ["declined"]
    monkeypatch.undo()
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed]
    assert (await driver.read(order))["status"] == "paid"


async def test_it_is_the_one_that_was_taken_back_and_not_the_declined_one(driver):
    order = await driver.order(await driver.sell())
    reference = await paid_unseen(driver, order, ["delivered", "reversed"])
    await paid_unseen(driver, order, ["failed"])
    await opened(driver, order)
    await compare(driver)
    lost = {one["reference"]: one["status"] for one in (await driver.read(order))["payments"]}
    assert lost.pop(reference) == "lost"
    assert [*lost.values()] == ["declined"]


@pytest.mark.parametrize("ending", [nothing, expire, leave])
async def test_what_was_opened_is_paid_by_its_payment_though_its_course_is_sold_no_more(driver, ending):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    await paid_unseen(driver, order, ["delivered"])
    await ending(driver, order)
    await driver.withdraw(course_id)
    await opened(driver, order)
    await compare(driver)
    shown = await driver.read(order)
    assert (shown["status"], shown["returned"]) == ("paid", [])


async def test_who_had_ended_the_course_of_a_lost_payment_may_buy_it_anew(driver):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    await paid_unseen(driver, order, ["delivered", "reversed"])
    await driver.consume(end(driver, order, await opened(driver, order)))
    await compare(driver)
    assert await told(driver) == [PaymentConfirmed, PaymentReversed]
    assert (await order_anew(driver, course_id)).status_code == 201


async def test_a_payment_is_to_others_what_it_was_before_it_was_forgotten(driver):
    _, reference = await driver.buy(await driver.sell())
    [confirmed] = await driver.announced(PaymentConfirmed)
    assert confirmed.payment_id == id_of(f"payment flywire {reference}")
    assert await driver.session.get(Payment, confirmed.payment_id)


@pytest.mark.parametrize(("lines", "left"), [(1, 0), (2, 49500)])
async def test_what_was_paid_back_before_it_was_seen_is_explained_and_the_books_agree(driver, lines, left):
    courses = [await driver.sell() for _ in range(lines)]
    order = await driver.order(*courses)
    reference = await paid_unseen(driver, order, ["delivered"])
    driver.sandbox.create_refund(reference, 49500, str(new_id()), "")
    for _ in range(2):
        await driver.later(hours=6)
    begun = await opened(driver, order)
    await driver.consume(end(driver, order, begun, "refunded"))
    await compare(driver)
    assert [*await driver.unmatched()] == ["unknown_refund"]
    refund_id = (await grant(driver, order)).json()["refund_id"]
    (await close(driver, **paid(refund_id))).raise_for_status()
    for _ in range(3):
        await driver.later(hours=6)
        await driver.run(submit_refunds, follow_refunds)
    assert len(driver.sandbox.refunds(reference)) == 1, "nothing is paid back twice"
    assert (await driver.read(order))["status"] == ("partly_refunded" if left else "refunded")
    assert await driver.balances() == ({"cash": left, "sales": -left} if left else {})
    assert await driver.unmatched() == {}
