"""A refund that was sent without an answer may take effect at the provider at any later time, and is paid once."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from payments.api.views import RefundView
from payments.domain.policy import policy_of
from payments.domain.refunds import RefundStatus
from payments.jobs import follow_refunds, submit_refunds
from payments.tables import Order, Refund
from shared.events.payments import RefundCompleted, RefundFailed
from shared.messaging.tables import QueuedEmail


async def sent_without_answer(driver):
    """A refund whose creation timed out without any effect so far; its order and the payment's reference."""
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await fails(driver)
    await driver.run(submit_refunds)
    assert await status_of(driver, order) == "submitting"
    return order, reference


async def fails(driver, **how):
    failure = {"operation": "create_refund", "times": 1, "seconds": 0, "takes_effect": False} | how
    (await driver.control.post("/control/failures", json=failure)).raise_for_status()


async def row_of(driver):
    return await driver.session.scalar(select(Refund).execution_options(populate_existing=True))


async def status_of(driver, order):
    return (await driver.read(order))["lines"][0]["refund"]["status"]


async def takes_effect(driver, reference):
    row = await row_of(driver)
    driver.sandbox.create_refund(reference, row.amount_minor, str(row.refund_id), "")


async def looks(driver, **after):
    await driver.later(**after)
    await driver.run(submit_refunds, follow_refunds)


async def time_given(driver, order):
    row = await driver.session.get_one(Order, UUID(order["order_id"]))
    return policy_of(row.regulations_version).refund_takes_effect_within


async def retry(driver, order):
    refund = (await driver.read(order))["lines"][0]["refund"]["refund_id"]
    async with driver.service.client("finance") as finance:
        return await finance.post(f"/v1/orders/{order['order_id']}/refunds/{refund}/retry")


@pytest.mark.parametrize("seconds", [85, 20 * 60, 71 * 3600])
async def test_it_is_paid_once_however_late_it_takes_effect(driver, seconds):
    order, reference = await sent_without_answer(driver)
    spent = 0
    for pause in (61, 61, 600, 3600):  # the lists are empty meanwhile
        if spent + pause < seconds:
            spent += pause
            await looks(driver, seconds=pause)
    await driver.later(seconds=seconds - spent)
    await takes_effect(driver, reference)
    for _ in range(4):
        await looks(driver, hours=1)
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]
    assert await status_of(driver, order) == "completed"
    assert len(await driver.announced(RefundCompleted)) == 1
    assert await driver.unmatched() == {}


async def told_of_delay(driver):
    found = await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_delayed"))
    return [" ".join(one.text.split()) for one in found]


@pytest.mark.parametrize("away", [False, True])
async def test_the_payer_is_told_of_the_delay_once_and_so_is_whose_refund_waits_behind_it(driver, away):
    """Also while the provider cannot be asked at all."""
    order, reference = await driver.buy(await driver.sell(), await driver.sell(title="Machine Learning"))
    await driver.deliver(reference)
    for line in (0, 1):
        await driver.refund(order, line)
    await fails(driver)
    await driver.run(submit_refunds)
    told_after = policy_of("mc-regs-2026.2").refund_delay_told_after
    if away:

        async def cut_off(scope, receive, send):
            raise httpx.ConnectError("away")

        driver.provider.app = cut_off
    spent = timedelta()
    while spent < told_after - timedelta(minutes=2):
        assert await told_of_delay(driver) == []
        await looks(driver, minutes=2)
        spent += timedelta(minutes=2)
    for _ in range(3):
        await looks(driver, hours=1)
    unanswered, behind = sorted(await told_of_delay(driver), key=lambda one: "waits for another one" in one)
    assert "it has not answered yet" in unanswered
    assert "Statistical Inference" in unanswered
    assert "Machine Learning" in behind


async def test_it_is_shown_since_when_it_is_unanswered(driver):
    order, reference = await sent_without_answer(driver)
    shown = (await driver.read(order))["lines"][0]["refund"]
    assert datetime.fromisoformat(shown["delayed_since"]) == (await row_of(driver)).submitted_at
    async with driver.service.client("finance") as finance:
        [listed] = (await finance.get("/v1/refunds", params={"status": "submitting"})).json()["items"]
    assert listed["delayed_since"] == shown["delayed_since"]
    await takes_effect(driver, reference)
    await looks(driver, hours=1)
    assert (await driver.read(order))["lines"][0]["refund"]["delayed_since"] is None


def test_every_state_of_a_refund_is_explained_where_it_is_shown():
    states = RefundView.model_json_schema()["properties"]["status"]
    assert set(states["enum"]) == set(RefundStatus)
    for status in RefundStatus:
        assert f"- `{status}`: " in states["description"]


async def test_where_no_effect_is_seen_finance_decides_whether_it_is_sent_again(driver):
    order, reference = await sent_without_answer(driver)
    given = await time_given(driver, order)
    sent_at = (await row_of(driver)).submitted_at
    while driver.clock().astimezone(UTC) + timedelta(minutes=61) < sent_at + given:
        await looks(driver, minutes=61)
    assert (await retry(driver, order)).json()["code"] == "refund_not_failed"
    assert await status_of(driver, order) == "submitting"
    await looks(driver, minutes=62)
    await looks(driver, minutes=62)
    assert driver.sandbox.refunds(reference) == []
    assert (await row_of(driver)).failure_code == "no_effect_seen"
    assert [one.reason_code for one in await driver.announced(RefundFailed)] == ["no_effect_seen"]
    kinds = (await driver.session.scalars(select(QueuedEmail.kind))).all()
    assert "refund_delayed" in kinds

    assert (await retry(driver, order)).status_code == 200
    for _ in range(3):
        await looks(driver, minutes=3)
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]
    assert await status_of(driver, order) == "completed"


async def test_what_takes_effect_after_it_was_given_up_is_found_and_not_sent_again(driver):
    order, reference = await sent_without_answer(driver)
    await driver.later(seconds=(await time_given(driver, order)).total_seconds() + 1)
    await driver.run(submit_refunds)
    assert await status_of(driver, order) == "failed"
    await takes_effect(driver, reference)
    assert (await retry(driver, order)).status_code == 200  # nobody has heard of it
    for _ in range(3):
        await looks(driver, minutes=3)
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]
    assert await status_of(driver, order) == "completed"


async def test_one_that_the_provider_made_and_cancelled_is_not_sent_again_by_itself(driver):
    order, reference = await sent_without_answer(driver)
    await takes_effect(driver, reference)
    refund = driver.sandbox.refunds(reference)[0]
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    path = f"/control/refunds/{refund['refund_id']}/status"
    (await driver.control.post(path, json={"status": "cancelled"})).raise_for_status()
    await looks(driver, minutes=2)
    assert await status_of(driver, order) == "failed"
    assert (await row_of(driver)).failure_code == "provider_cancelled"
    assert (await retry(driver, order)).status_code == 200
    await looks(driver, minutes=2)
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["cancelled", "initiated"]


@pytest.mark.parametrize("status", [401, 403, 425, 429])
async def test_what_the_provider_itself_turned_away_unread_is_sent_again_soon(driver, status):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await fails(driver, status=status)
    await driver.run(submit_refunds)
    assert driver.sandbox.refunds(reference) == []
    await looks(driver, minutes=2)
    assert len(driver.sandbox.refunds(reference)) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_any_other_answer_but_yes_or_no_may_mean_that_it_was_made(driver, status):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await fails(driver, status=status)
    await driver.run(submit_refunds)
    for _ in range(3):
        await looks(driver, minutes=10)
    assert driver.sandbox.refunds(reference) == []
    assert await status_of(driver, order) == "submitting"


PAGES = (
    (404, b"<html>"),
    (422, b"<html>"),
    (400, b""),
    (409, b"{}"),
    (422, b"null"),
    (410, b"\xff"),
    (422, b'{"type": "about:blank", "title": "Not found", "status": 404}'),
    (401, b"<html>"),
    (429, b'{"type": "about:blank", "title": "Too Many Requests", "status": 429}'),
    (403, b"<html>Request blocked</html>"),
    (425, b""),
    (429, b"{}"),
    (200, b"<html>"),
    (302, b""),
)


@pytest.mark.parametrize(("status", "page"), PAGES)
async def test_a_page_of_whatever_stands_before_the_provider_is_no_refusal(driver, monkeypatch, status, page):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await answers(driver, monkeypatch, lambda: httpx.Response(status, content=page, request=httpx.Request("POST", "/")))
    assert await status_of(driver, order) == "submitting"
    assert (await retry(driver, order)).json()["code"] == "refund_not_failed"
    for _ in range(3):
        await looks(driver, minutes=10)
    assert driver.sandbox.refunds(reference) == []
    await takes_effect(driver, reference)
    for _ in range(3):
        await looks(driver, hours=1)
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]
    assert await status_of(driver, order) == "completed"


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_where_there_was_no_connection_it_is_sent_again_soon(driver, monkeypatch, error):
    reference = await not_answered(driver, monkeypatch, error)
    await looks(driver, minutes=2)
    assert len(driver.sandbox.refunds(reference)) == 1


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.ReadTimeout, httpx.WriteTimeout, httpx.RemoteProtocolError])
async def test_where_a_connection_broke_it_may_have_been_made(driver, monkeypatch, error):
    reference = await not_answered(driver, monkeypatch, error)
    for _ in range(3):
        await looks(driver, minutes=10)
    assert driver.sandbox.refunds(reference) == []


async def not_answered(driver, monkeypatch, error):
    """Send a refund over a connection that breaks; return the payment's reference."""
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)

    def broken():
        raise error("broken")

    await answers(driver, monkeypatch, broken)
    assert await status_of(driver, order) == "submitting"
    return reference


async def answers(driver, monkeypatch, answer):
    """Let the job send refunds, each of which is answered so, without any effect."""
    stream = httpx.AsyncClient.stream

    @asynccontextmanager
    async def answered(client, method, url, **more):
        if method == "POST" and str(url).endswith("/refunds"):
            yield answer()
            return
        async with stream(client, method, url, **more) as said:
            yield said

    with monkeypatch.context() as patch:
        patch.setattr(httpx.AsyncClient, "stream", answered)
        await driver.run(submit_refunds)
