"""`python -m bench [part …]`: a table of ratios against limits measured in the same run, each with must and goal.

Ends with 1 where something stays below its must. Figures from a busy machine are of little use: close the rest, and
try again later where a virtual machine's host has taken more than a few per cent of the time for others.
"""

import argparse
import asyncio
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.measuring import Bench, Result, stolen
from shared.running import run_loop
from shared.telemetry import log_as_json

PATIENCE_SECONDS = 300
"""For one part; a machine on which it takes longer measures nothing."""

PARTS = (
    "start",
    "messaging",
    "posts",
    "writes",
    "orders",
    "reads",
    "gateway",
    "clients",
    "badges",
    "awards",
    "rebuild",
    "verification",
)


async def measure(parts: Sequence[str], rounds: int, *, short: bool) -> list[Result]:
    results: list[Result] = []
    for part in parts:
        print(f"… {part}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="mc-bench-") as folder:
            async with asyncio.timeout(PATIENCE_SECONDS):
                results += await importlib.import_module(f"bench.{part}").measure(Bench(Path(folder), rounds, short))
    return results


def show(results: Sequence[Result]) -> None:
    lines = [["subject", "measure", "value", "", "must", "goal", "stretch", "reaches", "detail"]]
    for result in results:
        bounds = (result.limit.must, result.limit.goal, result.limit.stretch)
        figures = ["-" if bound is None else f"{bound:g}" for bound in bounds]
        sign = "<=" if result.limit.at_most else ">="
        lines.append(
            [result.subject, result.measure, f"{result.value:.2f}", sign, *figures, result.verdict, result.detail]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(8)]
    for line in lines:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="a trial run with a tenth of the work")
    arguments = parser.parse_args()
    # As in production, a JSON line for every request and event, but into nothing.
    log_as_json("bench", handler=logging.StreamHandler(Path(os.devnull).open("w")))  # noqa: SIM115 - until the end
    before = stolen()
    results = run_loop(measure(arguments.parts or PARTS, arguments.rounds, short=arguments.short))
    taken, whole = (after - was for after, was in zip(stolen(), before, strict=True))
    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {taken / whole:.0%} of their time stolen\n"
    )
    show(results)
    return 1 if any(result.verdict == "FAIL" for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
