"""Every job of every service, done by two replicas at once: whoever acts outside is right with another beside it.

A job runs on a lease, which can be lost while the work goes on (`shared.leases`). One life is lived, the same each time, in
which every job has something to do (`simulation.scenario`): by one replica; by two from gate to gate (a gate stands before
every transaction and every call outside). Whatever left us, and what decides in every row, is the same each time.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest
from simulation.instants import SimulatedLoop
from simulation.runs import opened

pytestmark = pytest.mark.slow

MEETINGS: Final = ("alone", "in-step", "between 1")
PATIENCE_SECONDS: Final = 3000.0
READ_ONLY: Final = {
    "credentials.watch_waiting_badges",
    "credentials.watch_signing_keys",
    "payments.measure_what_waits",
}
"""They measure, and write nothing."""
DIFFERING: Final = {"credentials.signatures": "each signature that was made is recorded, though another's was stored"}
"""Tables that may show two where two were at it, and why."""


IN_BATCHES: Final = {
    "credentials: learners, lock of learner": "one learner's new name, then another's lock",
    "payments: lock of basket, orders": "what became of one learner's order, then another's erasure",
    "payments: learners, orders": "likewise",
    "payments: checkout_attempts, lock of basket": "one learner's course that ended, then another's erasure",
    "payments: checkout_attempts, learners": "likewise",
}
"""Only where messages of several kinds are handled in one transaction: each of them keeps to the order, and those about
several learners come as they come. A deadlock has them tried again one by one."""


@pytest.fixture(scope="module")
def lives() -> Iterator[dict[str, dict[str, Any]]]:
    """By how jobs were done: what came of the life."""
    loop, disabled = SimulatedLoop(), logging.root.manager.disable
    opening = opened(len(MEETINGS))
    runs = loop.run_until_complete(opening.__aenter__())

    async def together() -> list[dict[str, Any]]:
        return await asyncio.gather(*(runs.live(scenario=one, patience=PATIENCE_SECONDS) for one in MEETINGS))

    try:
        yield dict(zip(MEETINGS, loop.run_until_complete(together()), strict=True))
    finally:
        loop.run_until_complete(opening.__aexit__(None, None, None))
        loop.close()
        logging.disable(disabled)


def test_every_job_has_something_to_do(lives):
    """A new one needs its place in the scenario."""
    for meeting in ("alone", "in-step"):
        assert not lives[meeting]["violations"], meeting
        idle = {job for job in lives[meeting]["jobs"] if not lives[meeting]["worked"].get(job)}
        assert idle == READ_ONLY, meeting


def test_two_at_once_do_what_one_does(lives):
    alone, both = (lives[meeting]["state"] for meeting in ("alone", "in-step"))
    assert all(alone[what] for what in ("emails", "webhooks", "provider", "payments.refunds"))
    differing = {
        what: (Counter(rows) - Counter(both[what]), Counter(both[what]) - Counter(rows))
        for what, rows in alone.items()
        if rows != both[what] and what not in DIFFERING
    }
    assert not differing


def test_whatever_happens_between_the_halves_of_every_job_breaks_nothing(lives):
    """Each job is begun before each thing that happens, stops at one of its gates, and goes on after it."""
    assert not lives["between 1"]["violations"]


def both(order: str) -> str:
    """Return the two that are locked in opposite orders, whichever of these orders was met first."""
    service, _, pair = order.partition(" in ")[0].partition(": ")
    return f"{service}: {', '.join(sorted(pair.split(' before ')))}"


def test_no_two_transactions_take_their_locks_in_opposite_orders(lives):
    """Of all that is asked, handled and done by itself in the life: two that do could wait for each other."""
    opposite = {both(order): order for order in lives["alone"]["orders"]}
    assert {pair: order for pair, order in opposite.items() if pair not in IN_BATCHES} == {}
