"""Award options for a learner who holds 24 credits in six subjects, at all levels, against the same without choice."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from bench.measuring import Bench, Limit, Result, alternate
from credentials.domain import regulations
from credentials.domain.credit import Credit, countable
from credentials.domain.options import options, select

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SUBJECTS, EACH = 6, 4
EARNED = [
    Credit(
        id=f"{subject}-{number}",
        family=f"{subject}-{number}",
        subject=f"Subject {subject}",
        credits=15,
        level=7,
        mark=Decimal(40 + (subject * 17 + number * 29) % 60),
        passed_at=NOW - timedelta(days=subject * EACH + number),
    )
    for subject in range(SUBJECTS)
    for number in range(EACH)
]


async def measure(bench: Bench) -> list[Result]:
    rules = regulations.in_force(NOW)
    found = sum(map(len, options(EARNED, [], [rules]).values()))

    def choose() -> None:
        options(EARNED, [], [rules])

    counted = countable(EARNED, rules).credits
    best = {level: [one.id for one in counted[: level.credits // rules.module_credits]] for level in rules.levels}

    def add_up() -> None:
        """The one award a level that the best credit gives, as for a learner who has chosen it."""
        for level, credit_ids in best.items():
            select(credit_ids, level, EARNED, [], rules)

    costs = await alternate(
        bench.rounds,
        {
            "options": lambda: _microseconds(choose, bench.size(500)),
            "no choice": lambda: _microseconds(add_up, bench.size(5000)),
        },
    )
    return [
        Result(
            f"award options, {len(EARNED)} credits in {SUBJECTS} subjects",
            "times the same without choice",
            costs["options"] / costs["no choice"],
            Limit(None, 20, 5, at_most=True),
            f"{costs['options']:,.0f} us of {costs['no choice']:,.0f}, {found} options",
        )
    ]


async def _microseconds(work: Callable[[], None], count: int) -> float:
    """Of CPU, each."""
    await asyncio.sleep(0)
    began = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - began) / count * 1e6
