"""A page of whatever stands in front of the provider says nothing, whatever was asked and whatever its status."""

import inspect
import json
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import product
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from payments.adapters.flywire import Flywire, FlywireAccount
from payments.adapters.provider import (
    CheckoutOrder,
    Item,
    Payer,
    PaymentProvider,
    ProviderNotReached,
    ProviderRefused,
    ProviderUnavailable,
)
from payments.jobs import close_checkouts
from payments.tables import CheckoutAttempt
from shared.due_rows import list_set_aside

from .in_front import InFront

AT = datetime(2026, 11, 2, tzinfo=UTC)
ORDER = CheckoutOrder(
    "ord_1", 100, "GBP", [Item("1", "A course", 100)], Payer("a@example.org", "A", "B", "GB"), "https://us.example"
)


async def yes():
    return True


ASKED = {
    "create_checkout": lambda provider: provider.create_checkout(ORDER, AT),
    "confirm_checkout": lambda provider: provider.confirm_checkout("S1"),
    "expire_checkout": lambda provider: provider.expire_checkout("S1"),
    "fetch_payment": lambda provider: provider.fetch_payment("P1"),
    "list_payments": lambda provider: provider.list_payments(AT, 1),
    "list_refunds": lambda provider: provider.list_refunds(AT, 1),
    "create_refund": lambda provider: provider.create_refund("P1", 100, "R1", yes),
    "refunds_of": lambda provider: provider.refunds_of("P1"),
    "fetch_refund": lambda provider: provider.fetch_refund("R1"),
}
STATUSES = (200, 201, 204, 302, 400, 401, 403, 404, 407, 408, 409, 410, 418, 422, 425, 429, 451, 500, 502, 503, 504)
PAGES = (b"<html>", b"", b"null", b"[]", b"\xff", b'{"type": "about:blank", "title": "Another", "status": 499}')


class Answering(Flywire):
    """The real adapter; every request is answered with the status and the page that a test has set."""

    def __init__(self):
        account = FlywireAccount("http://provider", "key", ["s"], "FWU", "order_reference", "http://us", 5)
        super().__init__(account, transport=lambda: httpx.MockTransport(lambda _: self.answer))

    def says(self, status, page):
        self.answer = httpx.Response(status, content=page)


@pytest.fixture
async def provider():
    provider = Answering()
    yield provider
    await provider.aclose()


def generic(status):
    """A problem document as many gateways write it."""
    return json.dumps({"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}).encode()


def own_words(status):
    return json.dumps({"type": "https://errors.example/some", "title": "Some", "status": status, "errors": []}).encode()


def test_every_operation_is_asked():
    assert set(ASKED) == {name for name, _ in inspect.getmembers(PaymentProvider, inspect.iscoroutinefunction)}


@pytest.mark.parametrize("operation", ASKED)
async def test_it_is_no_answer(provider, operation):
    of_gateways = ((status, generic(status)) for status in STATUSES if status >= HTTPStatus.BAD_REQUEST)
    for status, page in [*product(STATUSES, PAGES), *of_gateways]:
        if status in range(200, 300) and b"status" in page:
            continue  # an object may be an answer
        provider.says(status, page)
        with pytest.raises(ProviderUnavailable) as raised:
            await ASKED[operation](provider)
        assert not isinstance(raised.value, ProviderNotReached), (status, page)


@pytest.mark.parametrize("operation", ASKED)
async def test_the_provider_itself_says_that_it_did_not_look(provider, operation):
    for status in (401, 403, 425, 429):
        provider.says(status, own_words(status))
        with pytest.raises(ProviderNotReached):
            await ASKED[operation](provider)


@pytest.mark.parametrize("operation", ASKED)
async def test_the_provider_itself_refuses(provider, operation):
    for status in (404, 409, 410, 422):
        provider.says(status, own_words(status))
        if operation in {"confirm_checkout", "expire_checkout"}:
            assert await ASKED[operation](provider) is None
        else:
            with pytest.raises(ProviderRefused):
                await ASKED[operation](provider)


async def replaced_session(driver):
    """A session that another payer's has replaced, and that is to be closed; the order and the session's id."""
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.open_session(order, payer={"email": "other@example.org", "given_name": "A", "family_name": "B"})
    return order, session_id


async def attempt_of(driver, session_id):
    statement = select(CheckoutAttempt).where(CheckoutAttempt.provider_session == session_id)
    return await driver.session.scalar(statement.execution_options(populate_existing=True))


@pytest.mark.parametrize("status", [200, 401, 404, 409, 410, 422, 429, 502])
async def test_a_session_is_not_closed_by_it(driver, status):
    _, session_id = await replaced_session(driver)
    driver.provider.app = front = InFront(driver.provider.app, "/expire", status, b"<html>no route</html>")
    for _ in range(3):
        await driver.run(close_checkouts)
        await driver.later(minutes=5)
    assert driver.sandbox.session(session_id)["status"] == "open"
    assert (await attempt_of(driver, session_id)).status == "open"
    front.on = False
    await driver.run(close_checkouts)
    assert driver.sandbox.session(session_id)["status"] == "expired"
    assert (await attempt_of(driver, session_id)).status == "closed"


async def test_a_session_whose_time_is_over_is_closed_without_an_answer(driver):
    _, session_id = await replaced_session(driver)
    driver.provider.app = InFront(driver.provider.app, "/expire", 404, b"<html>no route</html>")
    await driver.run(close_checkouts)
    assert [one.job for one in await list_set_aside(driver.session)] == ["close_checkouts"]
    await driver.later(days=8)
    await driver.run(close_checkouts)
    assert (await attempt_of(driver, session_id)).status == "closed"
    assert await list_set_aside(driver.session) == []


class Cache:
    """Repeats the first answer to the creation of a session while it is `on`."""

    def __init__(self, app):
        self.app, self.on, self.kept = app, True, []

    async def __call__(self, scope, receive, send):
        async def keep(message):
            self.kept.append(message)
            await send(message)

        if not self.on or not scope["path"].endswith("/checkout/sessions"):
            await self.app(scope, receive, send)
        elif self.kept:
            for message in self.kept:
                await send(message)
        else:
            await self.app(scope, receive, keep)


async def test_another_checkouts_pay_page_is_not_given_out(driver):
    first, second = [await driver.order(await driver.sell()) for _ in range(2)]
    driver.provider.app = cache = Cache(driver.provider.app)
    session_id = await driver.open_session(first)
    for _ in range(2):
        answer = await driver.checkout(second)
        assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    attempts = await driver.session.scalars(
        select(CheckoutAttempt.status).where(CheckoutAttempt.order_id == UUID(second["order_id"]))
    )
    assert set(attempts) == {"unknown"}
    cache.on = False
    await driver.pay(await driver.open_session(second))
    await driver.pay(session_id)
    assert [(await driver.read(order))["status"] for order in (first, second)] == ["paid", "paid"]
