"""The job that measures what waits for finance."""

from typing import Final

from prometheus_client import Gauge

from payments.queries.finance import count_waiting
from shared.jobs import Work
from shared.telemetry import set_unknown

payments_unmatched = Gauge("payments_unmatched", "Unmatched payments that are open: finance looks at each")
refunds_failed = Gauge("refunds_failed", "Refunds that the provider will not pay, until finance sends them again")
refunds_delayed = Gauge(
    "refunds_delayed", "Refunds that are held back though their turn has come, or were sent without an answer"
)
disputes_open = Gauge("disputes_open", "Disputes that no bank has decided yet: nothing of their payments goes back")
EVERY_SECONDS: Final = 60


async def measure_what_waits(work: Work) -> None:
    """Count what waits for finance, or for the provider's or a bank's word."""
    gauges = payments_unmatched, refunds_failed, refunds_delayed, disputes_open
    try:
        async with work.database.transaction() as session:
            counts = await count_waiting(session)
    except Exception:
        set_unknown(*gauges)
        raise
    for gauge, count in zip(gauges, counts, strict=True):
        gauge.set(count)
