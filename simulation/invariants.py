"""What must hold of a platform at rest, whatever happened in it: from the design, not from the code."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from embedded.workspace import NAMES
from simulation import history, money, offers, people_facts, study
from simulation.looking import Look
from simulation.reporting import Broken

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

Invariant = Callable[[Look], Awaitable[None]]


async def nothing_is_left_over(look: Look) -> None:
    """I5, I11: no message is a dead letter or waits for a retry, no row is set aside, no event or e-mail is unsent."""
    for service in NAMES:
        for what, statement in _LEFT.items():
            rows = await look.ask(service, statement)
            if rows:
                raise Broken(f"{what} in {service}", rows)


_LEFT: Final = {
    "a message is dead-lettered": "select type, reason, error from parked_messages where resolved_at is null",
    "a message is put off": "select type, attempt, waiting, last_error from inbox_retry",
    "a row is set aside": "select job, row_key, last_error from set_aside_rows",
    "an event is not sent": "select type, last_error from outbox where sent_at is null",
    "an e-mail is not sent": "select kind, last_error from letters where sent_at is null and recipient <> ''",
}


async def every_event_was_consumed(look: Look) -> None:
    """I5: each service has handled every event it subscribes to that another published."""
    announced: dict[str, list[str]] = {}
    for service in look.platform.consumers:
        for row in await look.ask(service, "select id::text, type from outbox"):
            announced.setdefault(row["type"], []).append(row["id"])
    for service, types in look.platform.consumers.items():
        handled = {row["id"] for row in await look.ask(service, "select id::text from inbox")}
        missing = [type_ for type_ in types for id_ in announced.get(type_, []) if id_ not in handled]
        if missing:
            raise Broken(f"{service} never consumed", Counter(missing))


async def what_was_answered_is_so(look: Look) -> None:
    """I10: whatever an answer has confirmed is there."""
    answered = look.platform.model
    orders = {str(row["order_id"]) for row in await look.rows("payments", "orders")}
    if lost := set(answered.get("orders", {})) - orders:
        raise Broken("an order that was confirmed to its learner is not there", lost)
    work = {str(row["submission_id"]): row["sha256"] for row in await look.rows("assessment", "submissions")}
    for id_, receipt in answered.get("submissions", {}).items():
        held = work.get(id_)
        held = held.hex() if isinstance(held, bytes) else held
        if held != receipt["sha256"]:
            raise Broken("work is not there as its receipt says", (id_, held, receipt))


ALL: Final[tuple[Invariant, ...]] = (
    people_facts.nothing_of_the_erased_is_left,
    nothing_is_left_over,
    every_event_was_consumed,
    what_was_answered_is_so,
    *money.ALL,
    *study.ALL,
    *people_facts.ALL,
    *offers.ALL,
)


_AT_ONCE: Final[dict[str, Invariant]] = {
    "enrolment.learner.anonymised.v1": people_facts.nothing_of_the_erased_is_left,
    "payments.refund.requested.v1": money.what_finance_gave_back_has_ended,
}
"""What must hold as soon as events of a type are handled, whatever time may mend later."""


async def check_at_once(platform: "SimulatedPlatform") -> None:
    """Check what must hold as soon as all is delivered, before any time has passed."""
    async with Look(platform) as look:
        late = {
            row["type"]
            for service in platform.consumers
            for row in await look.ask(service, "select type from inbox_retry")
        }  # their handlers failed, e.g. at a lock, and are tried again later
        for type_, invariant in _AT_ONCE.items():
            try:
                if type_ not in late:
                    await invariant(look)
            except Broken as broken:
                platform.violate(f"at once: {broken.what}", broken.details)


async def check(platform: "SimulatedPlatform") -> None:
    """Check all invariants of a platform at rest; each that is broken becomes a violation."""
    async with Look(platform) as look:
        for invariant in ALL:
            try:
                await invariant(look)
            except Broken as broken:
                platform.violate(f"{invariant.__name__}: {broken.what}", broken.details)
    if not platform.violations and "history twice" in platform.behaviours:
        try:
            await platform.quietly(lambda: history.handled_twice_it_changes_nothing(platform))
        except Broken as broken:
            platform.violate(broken.what, broken.details)
