"""Some seeds of the simulator: whatever happens in whatever order, at rest every invariant holds.

`make simulate` lives more of them, fresh ones, and shrinks those that fail.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from simulation.activities import CUT, SILENT, UNANSWERED, Activity, Trouble, current
from simulation.instants import SimulatedLoop
from simulation.replicas import _put_gates
from simulation.runs import Runs, opened
from simulation.shrinking import Shrinking, kind_of
from sqlalchemy import text

from shared.database import Database
from shared.messaging.outbox import OutboxNotifier
from shared.outages import is_database_down

SEEDS = range(20)
FAULT, MET_BY = "what_was_suspended_once_holds_all_credit_for_ever", 0


@pytest.fixture(scope="module")
def lives() -> Iterator[Callable[..., list[Any]]]:  # Any: JSON
    """`lives({"seed": …}, …)` lives as many at once as are asked for."""
    loop, disabled = SimulatedLoop(), logging.root.manager.disable
    opening = opened(2)
    runs = loop.run_until_complete(opening.__aenter__())

    async def together(tasks):
        return await asyncio.gather(*(runs.live(**task) for task in tasks))

    try:
        yield lambda *tasks: loop.run_until_complete(together(tasks))
    finally:
        loop.run_until_complete(opening.__aexit__(None, None, None))
        loop.close()
        logging.disable(disabled)


@pytest.mark.slow
def test_every_invariant_holds_at_rest_and_a_seed_decides_everything(lives):
    ended = lives(*({"seed": seed} for seed in [*SEEDS, SEEDS[0]]))
    failed = {life["seed"]: (life["violations"], life["did"]) for life in ended if life["violations"]}
    assert not failed, "\n".join(f"make simulate SEED={seed}: {details}" for seed, details in failed.items())
    first, again = ended[0], ended[-1]
    assert (first["did"], first["answers"]) == (again["did"], again["answers"])
    assert len(first["did"]) > 100


@pytest.mark.slow
def test_a_fault_brought_back_is_seen(lives):
    [life] = lives({"seed": MET_BY, "fault": FAULT})
    assert [kind_of(one) for one in life["violations"]][:1] == [
        "credit_waits_only_for_what_is_open: a learner is on hold though nothing is open, or the reverse"
    ]


@pytest.mark.slow
def test_nothing_is_kept_of_a_life_that_is_over(lives):
    [life] = lives({"seed": 1, "steps": 3, "collect": True})
    assert life["in_memory"] == 0


async def test_a_failing_life_is_shrunk_to_what_makes_it_fail():
    """Here: steps 17 and 90 together, where callbacks are lost."""

    class MadeUp(Runs):
        async def live(self, *, seed, without=(), dropped=(), steps):
            left = set(range(steps)) - set(dropped)
            fails = {17, 90} <= left and "lost callbacks" not in without
            return {
                "seed": seed,
                "violations": [f"money: an account is open: {sorted(left)}"] if fails else ["another: thing"],
                "did": [f"step {step}" for step in sorted(left)],
                "behaviours": sorted({"lost callbacks", "skew", "erasure"} - set(without)),
            }

    runs = MadeUp([])
    least = await Shrinking(runs, await runs.live(seed=5, steps=160)).shrink()
    assert least["behaviours"] == ["lost callbacks"]
    assert {"step 17", "step 90"} <= set(least["did"])
    assert len(least["did"]) < 20
    assert kind_of(least["violations"][0]) == "money: an account is open"


@pytest.mark.parametrize(("how", "is_kept"), [(CUT, False), (SILENT, False), (UNANSWERED, True)])
async def test_a_transaction_that_is_not_answered_fails_as_an_outage(make_database, how, is_kept):
    """It is done where its commit alone was not answered; the next one is answered."""
    database, activity = (
        Database(await make_database(f"trouble_{how}"), "tests", notifier=OutboxNotifier()),
        Activity("it", None),
    )
    _put_gates(database.messaging)
    token = current.set(activity)

    async def make(table):
        async with database.transaction() as session:
            await session.execute(text(f"create table {table} ()"))
            await session.execute(text("select 1"))

    try:
        await make("before")
        activity.trouble = Trouble(0 if how == UNANSWERED else 1, how)
        with pytest.raises(Exception) as failed:  # noqa: PT011 - of several kinds, distinguished in one place
            await make("meanwhile")
        assert is_database_down(failed.value)
        await make("after")
        async with database.transaction() as session:
            assert await session.scalar(text("select to_regclass('meanwhile') is not null")) == is_kept
    finally:
        current.reset(token)
        await database.dispose()
