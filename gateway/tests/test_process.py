"""The gateway as it runs: a whole process's parts on real sockets, and the operator's command line."""

import asyncio
import io
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from uuid import UUID

import httpx
import pytest

from embedded import ports
from embedded.workspace import BEHIND_THE_GATEWAY
from gateway import queries
from gateway.app import build
from gateway.domain.accounts import EmailTaken, PasswordTooShort
from gateway.domain.keys import KeyInUse
from gateway.staff import grant_roles, open_staff_account, parse_command, run_command
from shared.database import Unknown
from shared.ids import new_id
from shared.messaging.inprocess import InProcessBus
from shared.migrate import migrate
from shared.process import Process

from .proxy_harness import WRAPPING_KEY, ScriptedService, gateway_settings

PASSWORD = "nine brass engines humming"


@pytest.fixture
async def database_url(make_database):
    url = await make_database(f"gw_{new_id().hex[-12:]}")
    await migrate(url, build(gateway_settings(url)).versions)
    return url


async def test_it_runs_serves_and_ends_cleanly(database_url):
    async def slow(seen, reader, writer):
        await asyncio.sleep(0.7)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        return True

    behind = ScriptedService(slow)
    listening = await asyncio.start_server(behind.handle, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    port = ports.suggest(2)
    inside = port + 1
    services = dict.fromkeys(BEHIND_THE_GATEWAY, address)
    settings = gateway_settings(
        database_url, host="127.0.0.1", port=port, internal_port=inside, services=services, unready_seconds=0.2
    )
    process = Process(build(settings), bus=InProcessBus())
    stop, started = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(process.run(stop, started=started))
    async with asyncio.timeout(10):
        await started.wait()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        assert (await client.get("/health/ready")).json() == {"status": "ready"}
        body = {"email": "ada@example.org", "password": PASSWORD}
        opened = await client.post("/v1/accounts", json=body, headers={"Idempotency-Key": "a"})
        assert opened.status_code == 201, opened.text
        assert opened.headers["ratelimit"].startswith('"credentials"')
        tokens = (await client.post("/v1/sign-ins", json=body)).json()
        me = await client.get("/v1/accounts/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert me.json()["email"] == "ada@example.org"
        assert len((await client.get("/.well-known/jwks.json")).json()["keys"]) == 2
        assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")
        for path in ("/metrics", "/internal/events", "/internal"):
            assert (await client.get(path)).status_code == 404
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{inside}") as within:
            metrics = (await within.get("/metrics")).text
            assert 'http_requests_total{method="POST",route="/v1/sign-ins",service="gateway"' in metrics
            types = {"types": "gateway.account.opened.v1"}
            feed = await within.get("/internal/events", params=types, headers={"Authorization": "Bearer test"})
            assert len(feed.json()["bodies"]) == 1

        under_way = [asyncio.create_task(client.get("/v1/courses")) for _ in range(20)]
        await asyncio.sleep(0.3)
        stop.set()
        await asyncio.sleep(0.1)
        draining = await client.get("/health/ready")
        assert (draining.status_code, draining.json()) == (503, {"status": "draining"})
        assert {answer.text for answer in await asyncio.gather(*under_way)} == {"done"}
    async with asyncio.timeout(10):
        await running
    listening.close()


async def test_roles_are_given_to_an_account_by_its_id_never_by_an_address_somebody_may_have_taken(
    database_url, capsys
):
    process = Process(build(gateway_settings(database_url)))
    first = await open_staff_account(process.database, "prof@example.org", PASSWORD, ["learner"])
    with pytest.raises(EmailTaken, match="grant-roles"):
        await open_staff_account(process.database, "Prof@example.org", "another pass phrase of theirs", ["examiner"])
    await run_command(parse_command(["grant-roles", str(first), "--role", "examiner"]), gateway_settings(database_url))
    assert capsys.readouterr().out == "examiner, learner\n"
    with pytest.raises(Unknown):
        await grant_roles(process.database, new_id(), ["examiner"])
    await process.http.aclose()
    await process.database.dispose()


async def test_roles_are_taken_at_the_machine_from_whom_nobody_else_can_remove(database_url, capsys):
    """Also from the last operator; nothing comes of what they proposed, and their sessions have ended."""
    settings = gateway_settings(database_url)
    process = Process(build(settings))
    first = await open_staff_account(process.database, "first@platform.example", PASSWORD, ["operator", "marker"])
    await run_command(parse_command(["take-roles", str(first), "--role", "operator"]), settings)
    assert capsys.readouterr().out.startswith("it has marker now")
    async with process.database.transaction() as session:
        assert await queries.roles_of(session, first) == ["marker"]
    with pytest.raises(Unknown):
        await run_command(parse_command(["take-roles", str(new_id()), "--role", "operator"]), settings)
    await process.http.aclose()
    await process.database.dispose()


async def test_a_password_set_at_the_command_line_ends_the_sessions(live, monkeypatch):
    settings = live.service.settings
    async with live.client() as client:
        await client.post("/v1/accounts", json={"email": "ada@example.org", "password": PASSWORD})
        kept = (await client.post("/v1/sign-ins", json={"email": "ada@example.org", "password": PASSWORD})).json()
        for email, typed, error in (
            ("nobody@example.org", "a new pass phrase of hers", Unknown),
            ("ada@example.org", "short", PasswordTooShort),
            ("ada@example.org", "a new pass phrase of hers", None),
        ):
            monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
            with pytest.raises(error) if error else nullcontext():
                await run_command(parse_command(["set-password", email]), settings)
        refreshed = await client.post("/v1/sign-ins/refresh", json={"refresh_token": kept["refresh_token"]})
        former = await client.post("/v1/sign-ins", json={"email": "ada@example.org", "password": PASSWORD})
        new = await client.post("/v1/sign-ins", json={"email": "ada@example.org", "password": typed})
    assert (refreshed.status_code, former.status_code, new.status_code) == (401, 401, 201)


async def test_an_address_is_set_at_the_command_line(live):
    settings = live.service.settings
    async with live.client() as client:
        opened = await client.post("/v1/accounts", json={"email": "ada@exampel.org", "password": PASSWORD})
        await client.post("/v1/accounts", json={"email": "bob@example.org", "password": PASSWORD})
        account = opened.json()["account_id"]
        for wanted, email, error in (
            (account, "BOB@example.org", EmailTaken),
            (str(new_id()), "ada@example.org", Unknown),
            (account, "ada@example.org", None),
            (account, "Ada@example.org", None),
        ):
            with pytest.raises(error) if error else nullcontext():
                await run_command(parse_command(["set-email", wanted, email]), settings)
        former = await client.post("/v1/sign-ins", json={"email": "ada@exampel.org", "password": PASSWORD})
        new = await client.post("/v1/sign-ins", json={"email": "ada@example.org", "password": PASSWORD})
    assert (former.status_code, new.status_code) == (401, 201)


async def test_the_operators_command_line(database_url):
    environment = {
        **os.environ,
        "MC_DATABASE_URL": database_url,
        "MC_FEED_SECRET": "test",
        "MC_WRAPPING_KEY": WRAPPING_KEY,
        "MC_SERVICES": json.dumps(dict.fromkeys(BEHIND_THE_GATEWAY, "http://127.0.0.1:9")),
    }
    opened = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "gateway.staff", "open-account", "root@example.org", "--role", "operator"],
        env=environment,
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert opened.returncode == 0, opened.stderr
    assert UUID(opened.stdout.strip())


async def test_keys_are_rotated_and_withdrawn_at_the_command_line(database_url, capsys):
    async def staff(*arguments) -> str:
        await run_command(parse_command(arguments), gateway_settings(database_url))
        return capsys.readouterr().out

    assert "signs now" in await staff("rotate-keys")
    listed = (await staff("list-keys")).splitlines()
    assert sorted(line.split()[1] for line in listed) == ["active", "next", "retired"]
    retired = next(line.split()[0] for line in listed if "retired" in line)
    active = next(line.split()[0] for line in listed if "active" in line)
    assert "withdrawn" in await staff("withdraw-key", retired)
    with pytest.raises(KeyInUse):
        await staff("withdraw-key", active)


async def test_a_weak_password_opens_no_staff_account(database_url):
    process = Process(build(gateway_settings(database_url)))
    with pytest.raises(PasswordTooShort):
        await open_staff_account(process.database, "root@example.org", "short", ["operator"])
    await process.http.aclose()
    await process.database.dispose()
