"""Whatever happens, in whatever order: in the end our ledger is the provider's books, and nothing is stuck.

LIVES=500 draws so many random lives instead of a few. That the lives see anything is held by faults brought back one by
one: each must be met from the life on that is written beside it; SEARCHED says how far they are searched.
"""

import os
import re
from itertools import count, islice

import pytest

from .sequences.books import Books, Violation
from .sequences.decisions import Decided
from .sequences.faults import FAULTS
from .sequences.life import Life
from .sequences.two_orders import TwoOrders

FIRST, LIVES = int(os.environ.get("FIRST_LIFE", "0")), int(os.environ.get("LIVES", "12"))
SEARCHED = int(os.environ.get("SEARCHED", "20"))


async def live(open_driver, monkeypatch, seed, kind=Life):
    """One life from its beginning to its rest. Raises Violation."""
    async with open_driver() as driver:
        with monkeypatch.context() as patch:
            life = kind(driver, monkeypatch, seed)
            life.provider.attend(patch)
            try:
                await life.begin()
                await life.live()
                await life.come_to_rest()
                await Books(life).hold()
            except BaseException as error:
                error.add_note(f"life {seed}, {life.opening}, {sorted(life.troubles)}: {' '.join(life.did)}")
                raise


async def violation_of(open_driver, monkeypatch, seed, fault):
    """What this life shows of the fault; nothing where it does not meet it."""
    with monkeypatch.context() as patch:
        fault.bring_back(patch)
        try:
            await live(open_driver, monkeypatch, seed, fault.kind)
        except Violation as seen:
            return str(seen)
    return ""


FEW = 3
"""So many are lived also where the slow part is left out."""


SEEDS = [
    pytest.param(seed, marks=pytest.mark.slow if seed >= FIRST + FEW else ()) for seed in range(FIRST, FIRST + LIVES)
]


@pytest.mark.parametrize("kind", [Life, TwoOrders, Decided])
@pytest.mark.parametrize("seed", SEEDS)
async def test_in_the_end_our_ledger_is_the_providers_books(open_driver, monkeypatch, seed, kind):
    await live(open_driver, monkeypatch, seed, kind)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_can_be_brought_back(monkeypatch, name):
    FAULTS[name].bring_back(monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
async def test_the_sequences_are_not_blind(open_driver, monkeypatch, name):
    fault = FAULTS[name]
    able = (seed for seed in count(fault.begin) if fault.needs <= fault.kind.of(seed))
    for seed in islice(able, SEARCHED):
        if seen := await violation_of(open_driver, monkeypatch, seed, fault):
            assert re.match(fault.seen_as, seen) or seed != fault.begin, seen
            await live(open_driver, monkeypatch, seed, fault.kind)  # and it is the fault that it shows
            return
    pytest.fail(f"{SEARCHED} lives did not see it: {name.replace('_', ' ')}")
