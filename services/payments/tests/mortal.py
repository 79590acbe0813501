"""payments in a process of its own, which does what it is asked and ends, unless it is killed."""

import asyncio
import dataclasses
import os
from datetime import datetime
from importlib import reload

import httpx
from pydantic import SecretStr

from payments import jobs
from payments.app import build
from payments.settings import Settings
from shared import failpoints
from shared.access import TokenVerifier
from shared.jobs import Work
from shared.process import Process
from shared.testing.services import AUDIENCE, ISSUER


def begin(given: dict, crash: str) -> None:
    for name in [name for name in os.environ if name.startswith("MC_")]:
        del os.environ[name]
    os.environ |= {"MC_ENV": "test", "MC_FAILPOINT": crash}
    reload(failpoints)  # reads the environment as it is loaded
    asyncio.run(_work(given))


async def _work(given: dict) -> None:
    async def keys() -> dict:
        return given["keys"]

    settings = Settings(
        database_url=given["database_url"],
        feed_secret=SecretStr("test"),
        provider_url=given["provider_url"],
        provider_api_key=SecretStr(given["api_key"]),
        provider_secrets=[SecretStr(given["secret"])],
        notifications_url="http://service/v1/payment-notifications",
    )
    service = dataclasses.replace(build(settings), verifier=lambda _: TokenVerifier(ISSUER, AUDIENCE, keys))
    at = datetime.fromisoformat(given["now"])
    process = Process(service, clock=lambda: at)
    for job in given["jobs"]:
        await getattr(jobs, job)(Work(process.database, service.resources))
    if request := given["request"]:
        transport = httpx.ASGITransport(app=process.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            await client.post(request["path"], json=request["json"], headers=request["headers"])
