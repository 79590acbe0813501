"""The sender of webhooks in a process of its own, which sends what is due and ends, unless it is killed."""

import asyncio
import os
from datetime import datetime
from importlib import reload

from pydantic import SecretStr

from credentials import jobs
from credentials.app import build
from credentials.settings import Settings
from shared import failpoints
from shared.jobs import Work
from shared.process import Process


def begin(given: dict, crash: str) -> None:
    for name in [name for name in os.environ if name.startswith("MC_")]:
        del os.environ[name]
    os.environ |= {"MC_ENV": "test", "MC_FAILPOINT": crash}
    reload(failpoints)  # reads the environment as it is loaded
    asyncio.run(_send(given))


async def _send(given: dict) -> None:
    settings = Settings(
        database_url=given["database_url"],
        feed_secret=SecretStr("test"),
        public_url=given["public_url"],
        awarding_body="University of Example",
        wrapping_key=SecretStr(given["wrapping_key"]),
        webhooks_reach_loopback=True,
        evidence_url="memory:///",
    )
    service = build(settings)
    at = datetime.fromisoformat(given["now"])
    process = Process(service, clock=lambda: at)
    await jobs.send_webhooks(Work(process.database, service.resources))
