"""`python -m simulation`: live many seeds, or one, or look whether faults that are brought back are seen.

Ends with 1 where something is violated, after the smallest life that shows it and how to live it again.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from simulation import blindness
from simulation.instants import SimulatedLoop
from simulation.runs import Runs, opened
from simulation.shrinking import Shrinking


async def live_many(runs: Runs, seeds: Sequence[int], *, shrink: bool) -> int:
    """Live these seeds and print what becomes of them. Returns how many violate something."""
    failed, computed, answers = 0, 0.0, Counter[str]()
    began = time.time()
    async for ended in runs.each(seeds):
        answers.update(ended.get("answers", {}))
        computed += ended["seconds"]
        print(f"seed {ended['seed']}: {ended['seconds']:.1f} s", flush=True)
        if ended["violations"]:
            failed += 1
            print(f"\nseed {ended['seed']} FAILED: {ended['violations'][0]}", flush=True)
            if shrink and failed == 1:
                await show_least(runs, ended)
    took = time.time() - began
    print(f"{len(seeds)} seeds, {failed} failed, {took:.0f} s, {computed:.0f} s of computing", flush=True)
    if os.environ.get("SHOW_ANSWERS"):
        for answer, count in sorted(answers.items()):
            print(f"{count:6} {answer}")
    return failed


async def show_least(runs: Runs, failed: dict[str, object]) -> None:
    shrinking = Shrinking(runs, failed)
    least = await shrinking.shrink()
    print(f"\nThe least of seed {least['seed']} that fails so ({', '.join(least['behaviours'])}):")
    print("\n".join(f"  {line}" for line in least["did"]))
    for violation in least["violations"]:
        print(f"  => {violation}")
    print(f"\nAgain, whole: make simulate SEED={least['seed']}\n", flush=True)


async def run(arguments: argparse.Namespace) -> int:
    if arguments.blind and not arguments.seeds:
        return await blindness.show(None, arguments.fault, 0)
    async with opened(arguments.workers) as runs:
        if arguments.blind:
            return await blindness.show(runs, arguments.fault, arguments.seeds)
        if arguments.seed is not None:
            ended = await runs.live(seed=arguments.seed, fault=arguments.fault, steps=arguments.steps)
            if arguments.json:
                print(
                    json.dumps(
                        {name: ended[name] for name in ("did", "answers", "violations", "parts")}, sort_keys=True
                    )
                )
                return 0
            print("\n".join(ended["did"]))
            print("\n".join(ended["violations"]) or "nothing is violated", f"({ended['seconds']:.1f} s)")
            if ended["violations"] and arguments.shrink:
                await show_least(runs, ended)
            return bool(ended["violations"])
        first = arguments.first if arguments.first is not None else int(time.time())
        return await live_many(runs, range(first, first + arguments.seeds), shrink=arguments.shrink)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many fresh seeds")
    parser.add_argument("--first", type=int, help="the first of them; else one nobody has lived yet")
    parser.add_argument("--seed", type=int, help="live this one and print every step")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--blind", action="store_true", help="bring faults back and look whether they are seen")
    parser.add_argument("--fault", help="only this one")
    parser.add_argument("--steps", type=int, help="with --seed: no more than so many")
    parser.add_argument("--json", action="store_true", help="with --seed: as JSON, in one line")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    return min(loop.run_until_complete(run(arguments)), 1)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads of drivers and stores may still run
