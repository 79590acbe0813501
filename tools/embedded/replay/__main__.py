"""Replay real registrations through the public API and reconcile what came of them."""

from embedded.interrupts import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c("The replay was stopped. (Run it again to go on.)")  # while the rest is read, too

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path

import httpx

from embedded.installation import Unusable, here, where_it_runs
from embedded.journey import Refused, connected
from embedded.platform import flat
from embedded.replay import reconcile
from embedded.replay.journal import Journal
from embedded.replay.learners import Mismatch, Student
from embedded.replay.mapping import plans
from embedded.replay.oulad import DataSetError, first_learners, read
from embedded.replay.progress import Progress
from embedded.replay.run import Replay, presentations_of
from embedded.replay.staff import OtherPlatform, Staff

EXPECTED = (DataSetError, Mismatch, OtherPlatform, Refused, Unusable, TimeoutError, FileNotFoundError, httpx.HTTPError)
"""What can go wrong without a fault of the replay; printed without a traceback."""


async def replay(
    folder: Path, *, learners: int, base_url: str, platform: Path, at_once: int = 8, run: str | None = None
) -> bool:
    """Replay the first so many learners of the data set in `folder`. Returns whether everything reconciles.

    `platform` is the folder of the platform's data: its sample accounts, the journal of this run and, where it has
    them, the databases to compare. `run` names the run; another name has its own learners and courses.
    """
    run = run or str(learners)
    progress = Progress()
    registrations = await asyncio.to_thread(read, folder)
    chosen = first_learners(registrations, learners)
    planned = {learner: plans(theirs) for learner, theirs in chosen.items()}
    count = sum(map(len, planned.values()))
    progress.say(f"{len(chosen)} learners with {count} registrations, at {base_url}")
    journal = Journal(platform / f"replay-{run}.jsonl")
    began = time.monotonic()
    try:
        async with connected(base_url) as client:
            whole = Replay(
                staff=Staff(client, platform, journal, run),
                journal=journal,
                students={number: Student(client, journal, run, number) for number in chosen},
                plans=planned,
                presentations=presentations_of(registrations),
                at_once=at_once,
                progress=progress,
            )
            await whole.go()
            progress.say(f"Replayed in {time.monotonic() - began:.1f} s.")
            return await reconcile.reconcile(whole, platform)
    finally:
        journal.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.replay", description=__doc__)
    parser.add_argument("folder", type=Path, help="the data set (OULAD)")
    parser.add_argument("--learners", type=int, default=500)
    parser.add_argument("--base-url", help="the platform, unless it is the one that runs on the folder")
    parser.add_argument("--data", type=Path, default=here(), help="the platform's folder: staff accounts, journal")
    parser.add_argument("--concurrency", type=int, default=8, help="learners at a time")
    parser.add_argument("--run", help="a name for this run; the number of learners unless given")
    arguments = parser.parse_args()
    if arguments.learners < 1 or arguments.concurrency < 1:
        parser.error("at least one learner, at least one at a time")
    if arguments.run and not re.fullmatch(r"[a-z0-9]{1,12}", arguments.run):
        parser.error("a run's name is small letters and digits, at most 12")
    held = False
    try:
        base_url = arguments.base_url or where_it_runs(arguments.data)
        if base_url is None:
            raise Unusable(f"no platform runs on {arguments.data}")
        held = asyncio.run(
            replay(
                arguments.folder,
                learners=arguments.learners,
                base_url=base_url,
                platform=arguments.data,
                at_once=arguments.concurrency,
                run=arguments.run,
            )
        )
    except* EXPECTED as failures:
        sys.stderr.write("\n".join(["", *(f"The replay stopped: {one or repr(one)}" for one in flat(failures))]) + "\n")
        sys.stderr.write("(Run it again to go on. Is the platform up? `make run` starts it.)\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
