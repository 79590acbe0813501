"""A service of payments at a sandbox provider of its own, whose callbacks are sent when a test says so."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from embedded import provider as sandbox_provider
from embedded.provider.sandbox import Sandbox
from payments.adapters.flywire import Flywire, FlywireAccount, sign
from payments.app import build
from payments.handlers import inbox
from payments.settings import Settings
from payments.tables import UnmatchedPayment
from shared.events import Event
from shared.events.catalogue import CoursePublished, CourseWithdrawn, PriceChanged
from shared.events.enrolment import LearnerRegistered
from shared.ids import new_id
from shared.jobs import JobFunction, Work
from shared.messaging.message import read
from shared.messaging.tables import Outgoing
from shared.service import Service
from shared.testing.services import BuildService, FrozenClock, ServiceUnderTest, published

SECRET = "shared-secret-for-tests"
OLD_SECRET = "the-secret-before"
API_KEY = "key-for-tests"
PRICED_FROM = datetime(2026, 1, 1, tzinfo=UTC)


class Provider(Flywire):
    """The real adapter; its requests go to whichever sandbox the test at hand has made, without a socket."""

    def __init__(self) -> None:
        self.app: Any = None
        super().__init__(
            FlywireAccount(
                url="http://provider",
                api_key=API_KEY,
                secrets=[SECRET, OLD_SECRET],
                recipient="FWU",
                recipient_field="order_reference",
                notifications_url="http://service/v1/payment-notifications",
                timeout_seconds=5,
            ),
            transport=lambda: httpx.ASGITransport(app=self._forward),
        )

    async def _forward(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


provider = Provider()


def _build(url: str) -> Service:
    settings = Settings(
        database_url=url,
        feed_secret=SecretStr("test"),
        provider_api_key=SecretStr(API_KEY),
        provider_secrets=[SecretStr(SECRET)],
        return_origins=["https://learn.example"],
    )
    return build(settings, provider)


@pytest.fixture(scope="session")
def build_service() -> BuildService:
    return _build


@dataclass
class PaymentsDriver:
    """What the tests do with the service: sell courses, let learners buy, let the provider speak."""

    service: ServiceUnderTest
    session: AsyncSession | None
    sandbox: Sandbox
    control: httpx.AsyncClient
    provider: Provider
    learner_id: UUID = field(default_factory=new_id)

    @property
    def clock(self) -> FrozenClock:
        return self.service.clock

    async def consume(self, *events: Any) -> None:
        if self.session is not None:
            for event in events:
                await inbox.receive(self.session, event)
            await self.session.flush()
            return
        async with self.service.process.database.transaction() as session:
            for event in events:
                await inbox.receive(session, event)

    async def sell(self, price: int = 49500, title: str = "Statistical Inference") -> UUID:
        """A course on sale at that price; its id."""
        course_id = new_id()
        await self.consume(
            CoursePublished(
                course_id=course_id,
                course_version_id=new_id(),
                version=1,
                slug=str(course_id),
                code="DS01",
                title=title,
                description="",
                subject_id=new_id(),
                subject_name="Data Science",
                institution_id=new_id(),
                institution_name="Birkbeck",
                credits=15,
                level=7,
                module_family=str(course_id),
                weeks=10,
                criteria="",
                published_at=PRICED_FROM,
            )
        )
        await self.price(course_id, price, PRICED_FROM)
        return course_id

    async def price(self, course_id: UUID, amount: int, valid_from: datetime, *, by: UUID | None = None) -> None:
        await self.consume(
            PriceChanged(
                course_id=course_id,
                price_id=new_id(),
                amount_minor=amount,
                currency="GBP",
                valid_from=valid_from,
                set_by=str(by or new_id()),
            )
        )

    async def withdraw(self, course_id: UUID) -> None:
        await self.consume(CourseWithdrawn(course_id=course_id, withdrawn_at=self.clock()))

    async def register(self, learner_id: UUID | None = None) -> None:
        await self.consume(
            LearnerRegistered(learner_id=learner_id or self.learner_id, name_version=1, registered_at=self.clock())
        )

    def learner(self, id: UUID | None = None) -> httpx.AsyncClient:
        return self.service.client("learner", id=id or self.learner_id)

    async def order(self, *course_ids: UUID) -> dict[str, Any]:
        """An order placed by the registered learner."""
        await self.register()
        async with self.learner() as client:
            for course_id in course_ids:
                (await client.put(f"/v1/basket/items/{course_id}")).raise_for_status()
            answer = await client.post("/v1/orders")
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def checkout(self, order: dict[str, Any], **body: Any) -> httpx.Response:
        sent = {"payer": {"email": "ada@example.org", "given_name": "Ada", "family_name": "Lovelace"}} | body
        async with self.learner() as client:
            return await client.post(f"/v1/orders/{order['order_id']}/checkout", json=sent)

    async def open_session(self, order: dict[str, Any], **body: Any) -> str:
        """A session at the provider; its id."""
        answer = await self.checkout(order, **body)
        assert answer.status_code == 201, answer.text
        return answer.json()["pay_url"].rpartition("/")[2]

    async def pay(self, session_id: str, **body: Any) -> dict[str, Any]:
        """The payer completes the form; the callbacks due at once are sent."""
        answer = await self.control.post(f"/control/pay/{session_id}", json=body)
        assert answer.status_code == 201, answer.text
        await self.sandbox.run_due()
        return answer.json()

    async def status(self, reference: str, status: str, **body: Any) -> None:
        """The provider changes a payment's status by itself."""
        answer = await self.control.post(f"/control/payments/{reference}/status", json={"status": status, **body})
        answer.raise_for_status()
        await self.sandbox.run_due()

    async def later(self, **units: float) -> None:
        self.clock.advance(**units)
        await self.sandbox.run_due()

    async def buy(self, *course_ids: UUID) -> tuple[dict[str, Any], str]:
        """An order paid by card as far as `processed`; the order and the payment's reference."""
        order = await self.order(*course_ids)
        payment = await self.pay(await self.open_session(order))
        return await self.read(order), payment["payment_id"]

    async def read(self, order: dict[str, Any]) -> dict[str, Any]:
        async with self.learner() as client:
            answer = await client.get(f"/v1/orders/{order['order_id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def cancel(self, order: dict[str, Any], key: str = "leave") -> httpx.Response:
        async with self.learner() as client:
            headers = {"Idempotency-Key": key}
            return await client.post(f"/v1/orders/{order['order_id']}/cancellation", headers=headers)

    async def refund(self, order: dict[str, Any], line: int = 0) -> httpx.Response:
        line_id = order["lines"][line]["order_line_id"]
        async with self.learner() as client:
            return await client.post(f"/v1/orders/{order['order_id']}/lines/{line_id}/refund")

    async def announced(self, *kinds: type[Event]) -> list[Any]:
        """The events of these kinds so far."""
        if self.session is not None:
            return [event for event in await published(self.session) if isinstance(event, kinds)]
        async with self.service.process.database.transaction() as session:
            bodies = await session.scalars(select(Outgoing.body).order_by(Outgoing.position))
            events = [read(body.encode()).event for body in bodies]
        return [event for event in events if isinstance(event, kinds)]

    async def callback(self, body: bytes, digest: bytes | None = None) -> httpx.Response:
        """A callback of the provider's, signed as it signs unless another digest is given."""
        headers = {"X-Flywire-Digest": (digest or sign(body, SECRET.encode())).decode()}
        async with self.service.client() as client:
            return await client.post("/v1/payment-notifications", content=body, headers=headers)

    async def deliver(self, reference: str) -> None:
        """The provider guarantees the payment and pays it out."""
        for status in ("guaranteed", "delivered"):
            self.clock.advance(seconds=1)
            await self.status(reference, status)

    async def balances(self) -> dict[str, int]:
        """What stands in each account of our books, in one currency."""
        rows = await self.session.execute(
            text(
                "select account, sum(amount_minor)::bigint from ledger_entries "
                "group by account having sum(amount_minor) <> 0"
            )
        )
        return dict(rows.all())

    async def unmatched(self) -> dict[str, UnmatchedPayment]:
        """Reason -> what finance sees of it."""
        waiting = select(UnmatchedPayment).where(UnmatchedPayment.ended_at.is_(None))
        rows = await self.session.scalars(waiting.execution_options(populate_existing=True))
        return {row.reason: row for row in rows}

    async def run(self, *jobs: JobFunction) -> None:
        work = Work(self.service.process.database, self.service.service.resources)
        for job in jobs:
            await job(work)
            await self.sandbox.run_due()


async def _driver(service: ServiceUnderTest, session: AsyncSession | None) -> AsyncIterator[PaymentsDriver]:
    service.clock.at = FrozenClock().at
    app = sandbox_provider.build(
        sandbox_provider.Settings(api_key=SecretStr(API_KEY), shared_secret=SecretStr(SECRET)),
        http=service.client(),
        clock=service.clock,
    )
    provider.app = app
    provider._clock = service.clock
    control = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://provider")
    async with control:
        yield PaymentsDriver(service, session, app.state.sandbox, control, provider)
    await app.state.sandbox.close()


@pytest.fixture
async def driver(service: ServiceUnderTest, session: AsyncSession) -> AsyncIterator[PaymentsDriver]:
    """In the transaction that is rolled back."""
    async for driver in _driver(service, session):
        yield driver


@pytest.fixture
def open_driver(service: ServiceUnderTest) -> Callable[[], AbstractAsyncContextManager[PaymentsDriver]]:
    """One driver after the other, each rolled back at its end."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[PaymentsDriver]:
        async with service.rolled_back() as session, asynccontextmanager(_driver)(service, session) as driver:
            yield driver

    return opened


@pytest.fixture
async def live_driver(live: ServiceUnderTest) -> AsyncIterator[PaymentsDriver]:
    """On a database of its own with real commits, for races."""
    async for driver in _driver(live, None):
        yield driver
