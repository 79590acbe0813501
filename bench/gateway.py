"""The gateway's hop with every duty on, against nginx doing a plain proxy: one core each, the load on the other."""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from bench.measuring import Bench, Limit, Result, alternate
from embedded import people, ports
from embedded.postgres import Postgres
from embedded.process import Process as Program
from embedded.services import NAMES, Place, build, keep_secrets, versions_of
from shared.messaging.inprocess import InProcessBus
from shared.migrate import migrate
from shared.service import Process

ANSWER = json.dumps({"text": "x" * 2000})
CONNECTIONS = 32
MEASURED, OTHER = "0", "1"  # cores

NGINX = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream behind {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
    server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}
}}
"""
PLAIN_PROXY = 'proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection "";'


async def measure(bench: Bench) -> list[Result]:
    for program in ("nginx", "wrk", "taskset"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is needed: apt-get install nginx wrk util-linux")
    upstream = ports.suggest(2)
    seconds = 1 if bench.short else 4
    async with AsyncExitStack() as stack:
        answer = f"default_type application/json; return 200 '{ANSWER}';"
        await stack.enter_async_context(_nginx(bench.folder, "upstream", upstream, answer, OTHER, upstream))
        await stack.enter_async_context(_nginx(bench.folder, "proxy", upstream + 1, PLAIN_PROXY, MEASURED, upstream))
        gateway, token = await stack.enter_async_context(_gateway(bench.folder, upstream))

        async def nginx() -> float:
            return await _load(f"http://127.0.0.1:{upstream + 1}/v1/courses/x", "", seconds)

        async def ours() -> float:
            return await _load(f"{gateway}/v1/courses/x", token, seconds)

        rates = await alternate(bench.rounds, {"nginx": nginx, "ours": ours})
    return [
        Result(
            "gateway, all duties, one core",
            f"req/s of nginx's plain proxy, {CONNECTIONS} connections",
            rates["ours"] / rates["nginx"],
            Limit(0.11, 0.20),
            f"{rates['ours']:,.0f} of {rates['nginx']:,.0f}",
        )
    ]


@asynccontextmanager
async def _nginx(folder: Path, name: str, port: int, location: str, core: str, upstream: int) -> AsyncGenerator[None]:
    configuration = folder / f"{name}.conf"
    configuration.write_text(NGINX.format(folder=folder, name=name, port=port, location=location, upstream=upstream))
    server = Program(
        ["taskset", "-c", core, "nginx", "-c", configuration, "-p", folder],
        log=folder / f"{name}.out",
        env=dict(os.environ),
        ending=3,  # SIGQUIT
    )
    try:
        yield
    finally:
        await server.stop()


@asynccontextmanager
async def _gateway(folder: Path, upstream: int) -> AsyncGenerator[tuple[str, str]]:
    """Its address, and the access token of somebody signed in."""
    assigned = ports.assign({ports.VARIABLE: str(ports.suggest(len(ports.NAMES)))})
    async with Postgres(folder / "postgres") as postgres:
        url = await postgres.create_role_and_database("mc_gateway")
        await migrate(url, versions_of("gateway"))
        behind = {name: upstream for name in assigned if name not in ("gateway", "gateway internals")}
        place = Place(folder, assigned | behind, dict.fromkeys(NAMES, url), secrets=keep_secrets(folder))
        store = Process(build("gateway", place), bus=InProcessBus())
        staff = await people.open_accounts(store.database, folder)
        await store.http.aclose()
        await store.database.dispose()
        # No event of its own is measured: the broker it names is never asked for anything.
        environment = {**os.environ, **place.environment("gateway"), "MC_AMQP_URL": "amqp://127.0.0.1:1/"}
        server = Program(
            ["taskset", "-c", MEASURED, sys.executable, "-m", "gateway"],
            log=folder / "gateway.log",
            env=environment,
            ending=15,  # SIGTERM
        )
        try:
            async with httpx.AsyncClient(base_url=place.url("gateway"), timeout=10) as client:
                await _until_ready(client)
                person = {"email": staff["learner"].email, "password": staff["learner"].password}
                signed_in = (await client.post("/v1/sign-ins", json=person)).raise_for_status()
                token = str(signed_in.json()["access_token"])
                answer = await client.get("/v1/courses/x", headers={"Authorization": f"Bearer {token}"})
                assert answer.text == ANSWER, answer.text
            yield place.url("gateway").replace("localhost", "127.0.0.1"), token
        finally:
            await server.stop()


async def _until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get("/health/ready")).is_success:
                    return
            except httpx.TransportError:  # it does not listen yet
                pass
            await asyncio.sleep(0.1)


async def _load(url: str, token: str, seconds: int) -> float:
    """Requests a second, all of them answered with success."""
    wrk = await asyncio.create_subprocess_exec(
        *("taskset", "-c", OTHER, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"),
        *(("-H", f"Authorization: Bearer {token}") if token else ()),
        url,
        stdout=asyncio.subprocess.PIPE,
    )
    printed = (await wrk.communicate())[0].decode()
    assert "Non-2xx" not in printed, printed
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    assert found, printed
    return float(found[1])
