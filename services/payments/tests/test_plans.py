"""What lists, the basket and jobs read depends on the page, not on how much was ever sold."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest
from pydantic import SecretStr

from embedded.postgres import Postgres
from payments.adapters.provider import PaymentProvider, ProviderUnavailable
from payments.app import build
from payments.jobs.comparing import Rhythm
from payments.settings import Settings
from shared.testing.odd_rows import odd_row_failures
from shared.testing.plans import BASE, BUSY, Ask, Planned, Table, at, planned_service, someone, uuid_of

ORDERS, LATE = 15_000, 40
"""Of the orders these last few are late in some way, all others are at rest: paid long ago."""


def late(value: object, otherwise: object = None) -> Callable[[int], object]:
    return lambda n: value if n >= ORDERS - LATE else otherwise


def away() -> Any:
    """A provider that cannot be reached: what is due is found, and stays so."""
    provider = AsyncMock()
    provider.name = "flywire"
    for name in (one for one in dir(PaymentProvider) if not one.startswith("_") and one != "name"):
        setattr(provider, name, AsyncMock(side_effect=ProviderUnavailable("away")))
    return provider


def received(n: int) -> datetime:
    return BASE if n < ORDERS - 1_200 else at(days=-1_000)


PROVIDER = away()
FIRST = uuid_of("order_id", 0)

TABLES = {
    "unmatched_payments": Table({"reason": "nothing_paid", "ended_at": late(None, at(days=-30))}),
    "orders": Table(
        {
            "status": late("placed", "paid"),
            "expires_at": at(days=-1),
            "currency": "GBP",
            "regulations_version": "mc-regs-2026.2",
            "paid_at": late(None, at(days=-30)),
            "receipt_number": lambda n: f"MC-{n}",
        }
    ),
    "order_lines": Table({"list_minor": 49500, "discount_minor": 0, "due_minor": 49500}),
    "prices": Table({"valid_from": at(days=-100), "amount_minor": 49500, "currency": "GBP"}),
    "offered_courses": Table(
        {
            "course_version_id": lambda n: uuid_of("course_version_id", n),
            "code": "C",
            "title": "T",
            "version": 1,
        }
    ),
    "checkout_attempts": Table(
        {
            "status": "closed",
            "ask_at": late(at(days=-1)),
            "close_at": late(at(days=-1)),
            "provider_session": lambda n: f"session-{n}",
            "currency": "GBP",
            "started_at": at(days=-2),
        }
    ),
    "payments": Table(
        {
            "provider": "flywire",
            "state": "settled",
            "use": "order",
            "currency": "GBP",
            "provider_status": "delivered",
            "ask_at": late(at(days=-1)),
            "funded_at": at(days=-30),
        }
    ),
    "refunds": Table(
        {
            "status": late("requested", "completed"),
            "order_line_id": lambda n: uuid_of("order_line_id", n),
            "currency": "GBP",
            "provider_refund_id": lambda n: f"refund-{n}",
            "ask_at": late(at(days=-1)),
            "delayed_since": late(at(days=-1)),
        }
    ),
    "disputes": Table(
        {
            "closed_at": late(None, at(days=-1)),
            "outcome": late(None, "won"),
            "closed_by": late(None, "bank"),
        }
    ),
    "notifications": Table({"body": b"{}", "received_at": received, "subject": lambda n: f"reference-{n}"}),
    "rejected_notifications": Table({"last_at": received}),
    "ledger_postings": Table(
        {
            "posting_no": lambda n: n + 1,
            "order_id": lambda n: uuid_of("order_id", 0 if n < BUSY else n),
            "kind": "settled",
            "currency": "GBP",
        }
    ),
    "ledger_entries": Table({"posting_no": lambda n: n + 1, "account": "cash"}),
    "learners": Table({"anonymised_at": lambda n: at(days=-300) if n < ORDERS / 2 else None}),
}


@pytest.fixture(scope="module")
async def planned(planned_server: Postgres) -> AsyncIterator[Planned]:
    async with planned_service(
        lambda url: build(
            Settings(
                database_url=url,
                feed_secret=SecretStr("test"),
                provider_api_key=SecretStr("key-for-tests"),
                provider_secrets=[SecretStr("shared-secret-for-tests")],
                return_origins=["https://learn.example"],
            ),
            PROVIDER,
        ),
        planned_server,
        TABLES,
        rows=ORDERS,
    ) as planned:
        yield planned


LEARNER, FINANCE = someone("learner", id=uuid_of("learner_id", 0)), someone("finance", id=uuid_of("financ", 1))

LISTS = {
    "read_basket": [Ask("/v1/basket", LEARNER, full=False)],
    "list_orders": [Ask("/v1/orders", LEARNER)],
    "read_order": [Ask(f"/v1/orders/{FIRST}", LEARNER, full=False)],
    "list_unmatched_payments": [
        Ask("/v1/unmatched-payments", FINANCE, full=False),
        Ask("/v1/unmatched-payments?open=true", FINANCE, full=False),
        Ask("/v1/unmatched-payments?open=false", FINANCE),
    ],
    "list_refunds": [Ask("/v1/refunds?status=completed", FINANCE), Ask("/v1/refunds", FINANCE, full=False)],
    "list_disputes": [
        Ask("/v1/disputes", FINANCE),
        Ask("/v1/disputes?open=true", FINANCE, full=False),
        Ask("/v1/disputes?open=false", FINANCE),
    ],
    "list_ledger": [Ask("/v1/ledger", FINANCE), Ask(f"/v1/ledger?order_id={FIRST}", FINANCE)],
}

JOBS = {
    "close_checkouts": 3,
    "ask_about_payments": 3,
    "compare_with_provider": 1,
    "find_payments": 3,
    "submit_refunds": 1,
    "follow_refunds": 3,
    "expire_orders": LATE,
    "end_repayments": 1,
    "return_underpaid": 1,
    "forget_bodies": 3,
    "measure_what_waits": 1,
}


async def test_a_list_reads_its_page(planned: Planned) -> None:
    wrong = await planned.lists(LISTS)
    assert not wrong, "\n".join(wrong)


async def test_a_job_reads_its_batches(planned: Planned) -> None:
    wrong = await planned.jobs({PaymentProvider: PROVIDER, Rhythm: Rhythm(timedelta(days=1), timedelta(days=35))}, JOBS)
    assert not wrong, "\n".join(wrong)


async def test_one_odd_row_hides_no_other(planned: Planned) -> None:
    wrong = await odd_row_failures(planned, LISTS)
    assert not wrong, "\n".join(wrong)
