"""Killed right before or right after it asks the provider: started again, it neither pays twice nor forgets."""

import asyncio
import multiprocessing
import signal
from contextlib import asynccontextmanager

import pytest
import uvicorn
from sqlalchemy import text

from payments.jobs import ask_about_payments, close_checkouts, find_payments, follow_refunds, submit_refunds
from shared.events.payments import DuplicateDetected, PaymentConfirmed, RefundCompleted, RefundRequested
from shared.ids import new_id

from . import mortal

pytestmark = pytest.mark.slow

# A real process, forked from one that has only imported: reading the libraries anew takes seconds. The server is
# one for the whole run, so it imports what the delivery suite wants as well.
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["shared.cli", "shared.testing.services", "uvicorn.protocols.http.httptools_impl", "httpx", "payments.app"]
)
SECRET, API_KEY = "shared-secret-for-tests", "key-for-tests"
EVERYTHING = (close_checkouts, find_payments, ask_about_payments, submit_refunds, follow_refunds)


@asynccontextmanager
async def served(app):
    """The sandbox over HTTP; what it does by itself, the test steps through."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn shows it in no other way
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


class Till:
    """The service's database and its provider, with payments in a process that may be killed."""

    def __init__(self, driver, provider_url):
        self.driver, self.provider_url = driver, provider_url

    async def die(self, crash, *jobs, request=None):
        """Let payments do these jobs, or answer this request, in a process that is killed there."""
        given = {
            "database_url": self.driver.service.service.settings.database_url,
            "provider_url": self.provider_url,
            "api_key": API_KEY,
            "secret": SECRET,
            "keys": await self.driver.service.issuer.keys(),
            "now": self.driver.clock().isoformat(),
            "jobs": jobs,
            "request": request,
        }
        process = FORKSERVER.Process(target=mortal.begin, args=(given, crash), daemon=True)
        process.start()
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode == -signal.SIGKILL

    async def come_to_rest(self):
        """Everything received, everything asked, everything paid back."""
        for _ in range(6):
            await self.driver.later(hours=2)
            await self.driver.run(*EVERYTHING)

    async def one(self, statement):
        async with self.driver.service.process.database.transaction() as session:
            return await session.scalar(text(statement))

    async def must_balance(self, sold):
        """What was sold and kept is what the provider has and has not paid back, and the books say the same."""
        books = self.driver.sandbox.books
        received = sum(one["amount_to"] for one in books.all("payment") if one["status"] == "delivered")
        returned = sum(one["amount"] for one in books.all("refund") if one["status"] == "finished")
        assert received - returned == sold
        assert await self.one("select coalesce(sum(amount_minor), 0)::int from ledger_entries") == 0
        cash = "select coalesce(sum(amount_minor), 0)::int from ledger_entries where account = 'cash'"
        assert await self.one(cash) == sold
        assert len(await self.driver.announced(PaymentConfirmed)) == 1
        asked_back, given_back = (
            await self.driver.announced(RefundRequested),
            await self.driver.announced(RefundCompleted),
        )
        assert sorted(one.refund_id for one in asked_back) == sorted(one.refund_id for one in given_back)
        assert len(list(books.all("refund"))) == len(asked_back)


@pytest.fixture
async def till(live_driver):
    async with served(live_driver.provider.app) as url:
        yield Till(live_driver, url)


MOMENTS = ("asking", "answered")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_while_a_checkout_is_opened(till, moment):
    """The session may have been made and never answered: whichever is paid first pays, the other goes back."""
    driver = till.driver
    order = await driver.order(await driver.sell())
    token = driver.service.issuer.token("learner", id=driver.learner_id)
    request = {
        "path": f"/v1/orders/{order['order_id']}/checkout",
        "json": {"payer": {"email": "ada@example.org"}},
        "headers": {"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())},
    }
    await till.die(f"create_checkout_{moment}", request=request)
    assert len(list(driver.sandbox.books.all("session"))) == (moment == "answered")
    driver.clock.advance(minutes=1)
    async with driver.service.client() as client:
        answer = await client.post(request["path"], json=request["json"], headers=request["headers"])
    assert answer.status_code == 201, answer.text
    sessions = [session["id"] for session in driver.sandbox.books.all("session")]
    for session_id in sessions:
        await driver.pay(session_id)
    await till.come_to_rest()
    assert (await driver.read(order))["status"] == "paid"
    assert len(await till.driver.announced(DuplicateDetected)) == len(sessions) - 1 == (moment == "answered")
    await till.must_balance(49500)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_while_a_checkout_is_closed(till, moment):
    driver = till.driver
    order = await driver.order(await driver.sell())
    first = await driver.open_session(order)
    second = await driver.open_session(order, payer={"email": "another@example.org"})
    await till.die(f"expire_checkout_{moment}", "close_checkouts")
    await driver.run(close_checkouts)
    assert driver.sandbox.session(first)["status"] == "expired"
    assert await till.one("select count(*) from checkout_attempts where close_at is not null") == 0
    await driver.pay(second)
    await till.come_to_rest()
    await till.must_balance(49500)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("operation", ["confirm_checkout", "fetch_payment"])
async def test_while_it_looks_for_a_payment_it_knew_nothing_of(till, operation, moment):
    driver = till.driver
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    await driver.pay(session_id)
    await driver.later(minutes=3)
    await till.die(f"{operation}_{moment}", "find_payments")
    assert (await driver.read(order))["status"] == "placed"
    await till.come_to_rest()
    assert (await driver.read(order))["status"] == "paid"
    await till.must_balance(49500)


async def refunded(till, callbacks="deliver"):
    """An order of two courses of which one goes back."""
    driver = till.driver
    order, reference = await driver.buy(await driver.sell(), await driver.sell(title="Strategy"))
    await driver.status(reference, "guaranteed")
    await driver.status(reference, "delivered")
    assert (await driver.refund(order)).status_code == 201
    await driver.control.put("/control/callbacks", json={"mode": callbacks})
    return order


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("operation", ["fetch_payment", "create_refund"])
async def test_while_a_refund_is_submitted(till, operation, moment):
    order = await refunded(till)
    await till.die(f"{operation}_{moment}", "submit_refunds")
    await till.come_to_rest()
    assert (await till.driver.read(order))["lines"][0]["refund"]["status"] == "completed"
    await till.must_balance(49500)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("operation", ["find_refund", "create_refund"])
async def test_and_again_while_it_looks_what_became_of_that_refund(till, operation, moment):
    order = await refunded(till)
    await till.die("create_refund_asking", "submit_refunds")
    till.driver.clock.advance(minutes=2)
    await till.die(f"{operation}_{moment}", "submit_refunds")
    await till.come_to_rest()
    assert (await till.driver.read(order))["lines"][0]["refund"]["status"] == "completed"
    await till.must_balance(49500)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_while_a_refund_is_followed(till, moment):
    order = await refunded(till, callbacks="drop")
    await till.driver.run(submit_refunds)
    await till.driver.later(minutes=10)
    await till.die(f"fetch_refund_{moment}", "follow_refunds")
    await till.come_to_rest()
    assert (await till.driver.read(order))["lines"][0]["refund"]["status"] == "completed"
    await till.must_balance(49500)
