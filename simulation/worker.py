"""A worker process: reads tasks from standard input, one line of JSON each, lives them, and writes their outcomes."""

import asyncio
import gc
import json
import logging
import os
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from simulation import faults, scenario
from simulation.databases import Databases
from simulation.instants import SimulatedLoop
from simulation.life import Plan, live
from simulation.simulated_platform import IN_MEMORY

JSON = dict[str, Any]  # Any: JSON


async def work(task: JSON, databases: Databases, worker: str, begun: JSON) -> JSON:
    if "scenario" in task:
        try:
            return await scenario.live(databases, worker, begun, task["scenario"])
        except Exception:  # noqa: BLE001 - a fault of the simulator itself or of its libraries
            return {"violations": [f"the simulator broke: {traceback.format_exc()[-1500:]}"]}
    plan = Plan(
        task["seed"],
        frozenset(task.get("without", ())),
        frozenset(task.get("dropped", ())),
        Plan.steps if task.get("steps") is None else task["steps"],
    )
    began = time.process_time()
    with ExitStack() as stack:
        if task.get("fault"):
            stack.enter_context(faults.brought_back(task["fault"]))
        try:
            violations = await live(databases, worker, plan, begun)
        except Exception:  # noqa: BLE001 - a fault of the simulator itself or of its libraries
            violations = [f"the simulator broke: {traceback.format_exc()[-500:]}"]
    if task.get("collect"):
        gc.collect()
    return {
        "seed": plan.seed,
        "in_memory": len(IN_MEMORY),
        "violations": violations,
        "did": plan.did,
        "behaviours": sorted(plan.behaviours),
        "answers": plan.answers,
        "parts": {part: at - began for part, at in plan.seconds.items()},
        "seconds": time.process_time() - began,
    }


def main() -> None:
    logging.disable(logging.CRITICAL)
    settings: JSON = json.loads(sys.stdin.readline())
    databases = Databases(Path(settings["sockets"]), Path(settings["data"]))
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    for line in sys.stdin:
        done = loop.run_until_complete(work(json.loads(line), databases, settings["worker"], settings["begun"]))
        sys.stdout.write(json.dumps(done) + "\n")
        sys.stdout.flush()
    os._exit(0)  # threads of drivers and stores may still run


if __name__ == "__main__":
    main()
