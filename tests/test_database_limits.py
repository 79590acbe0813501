"""PostgreSQL as it comes, with a hundred connections: two replicas of everything fit in, and what it refuses is 503."""

import asyncio
import contextlib
import re
from collections import Counter

import httpx
import pytest

from embedded import ports
from embedded.postgres import Postgres
from embedded.services import NAMES, Deployment, build, keep_secrets, nowhere, versions_of
from shared.ids import new_id
from shared.messaging.inprocess import InProcessBus
from shared.migrate import migrate
from shared.process import Process
from shared.testing.refusing import refusing_database
from shared.testing.services import AUDIENCE, ISSUER, Issuer

MOST = 100
RESERVED = 3  # for its superuser, by PostgreSQL's own default


# Every route


@pytest.mark.parametrize("sqlstate", ["53300", "57P03", "57P01", "28P01", "3D000", "55000"])
@pytest.mark.parametrize("name", NAMES)
async def test_where_the_database_refuses_every_route_says_when_to_come_back(name, sqlstate):
    """Too many connections, starting up, shutting down, wrong password, no such database, one that takes nobody."""
    async with refusing_database(sqlstate) as url:
        statuses = await _answers(name, url)
    assert statuses[503] > sum(statuses.values()) / 3, statuses  # the others were refused before it was asked


async def _answers(name, url):
    """Ask every operation of a service on a database that is not well; how often it answered with which status."""
    deployment, issuer = nowhere(), Issuer()
    deployment.databases[name] = url
    process = Process(build(name, deployment))
    process.verifier.fetch_keys, process.verifier.issuer, process.verifier.audience = issuer.keys, ISSUER, AUDIENCE
    statuses = Counter()
    transport = httpx.ASGITransport(process.api, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            for method, path, token in _asked(process, issuer):
                answer = await client.request(
                    method,
                    re.sub(r"\{[^}]+\}", str(new_id()), path),
                    headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k"} if method == "POST" else
                    {"Authorization": f"Bearer {token}"},
                )  # fmt: skip
                statuses[answer.status_code] += 1
                if answer.status_code >= 500:
                    assert answer.status_code == 503, f"{method} {path}: {answer.text}"
                    assert answer.headers["retry-after"].isdigit(), f"{method} {path}"
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.headers["retry-after"]) == (503, "2")
            assert (await client.get("/health/live")).status_code == 200
    finally:
        await process.http.aclose()
        await process.database.dispose()
    return statuses


def _asked(process, issuer):
    """Every operation, by somebody who may."""
    for path, item in process.api.openapi()["paths"].items():
        for method, operation in item.items():
            rule = process.service.access[operation["operationId"]]
            if rule.owners or rule.staff or not rule.scopes:
                yield method.upper(), path, issuer.token(*(rule.owners | rule.staff))
            else:
                yield method.upper(), path, issuer.token(client_id="partner", scopes=tuple(rule.scopes))


# Two replicas


@pytest.fixture(scope="module")
async def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    async with Postgres(folder / "postgres", {"fsync": "off", "max_connections": MOST}) as server:
        urls = {name: await server.create_role_and_database(f"mc_{name}") for name in NAMES}
        for name, url in urls.items():
            await migrate(url, versions_of(name))
        yield folder, server, urls


@contextlib.asynccontextmanager
async def replicas(stores, number):
    """So many of each service, as they run, with a gateway each for address."""
    folder, _, urls = stores
    stop, secrets = asyncio.Event(), keep_secrets(folder)
    processes, gateways = [], []
    for _ in range(number):
        deployment = Deployment(
            folder,
            ports.assign({ports.VARIABLE: str(ports.suggest(len(ports.NAMES)))}),
            urls,
            secrets=secrets,
            ample=False,
        )
        bus = InProcessBus()
        processes += [Process(build(name, deployment), bus=bus) for name in NAMES]
        gateways.append(f"http://127.0.0.1:{deployment.ports['gateway']}")
        started = [asyncio.Event() for _ in NAMES]
        tasks = [
            asyncio.create_task(process.run(stop, started=event))
            for process, event in zip(processes[-len(NAMES) :], started, strict=True)
        ]
        running = asyncio.gather(*tasks)
        waiting = asyncio.gather(*(event.wait() for event in started))
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()  # it raises what ended one of them
        processes_running.append(running)
    try:
        yield processes, gateways
    finally:
        stop.set()
        for running in processes_running:
            await running
        processes_running.clear()


processes_running: list[asyncio.Future] = []


async def _burst(gateways, requests=240):
    """What many people do at once, at all services; the answers."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=one, timeout=30, trust_env=False))
            for one in gateways
        ]
        person = {"email": f"{new_id()}@example.org", "password": "nine brass engines humming"}
        opened = await clients[0].post("/v1/accounts", json=person, headers={"Idempotency-Key": str(new_id())})
        assert opened.status_code == 201, opened.text
        token = (await clients[0].post("/v1/sign-ins", json=person)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        paths = (
            "/v1/courses?q=data", "/v1/subjects", "/v1/orders", "/v1/basket", "/v1/learners/me", "/v1/enrolments",
            "/v1/assessments", "/v1/badges", "/v1/credits", "/v1/transcript", "/v1/accounts/me",
        )  # fmt: skip
        asked = [
            clients[n % len(clients)].get(paths[n % len(paths)], headers=headers) for n in range(requests)
        ] + [
            clients[n % len(clients)].put(f"/v1/basket/items/{new_id()}", headers=headers) for n in range(2)
        ]  # fmt: skip
        return await asyncio.gather(*asked)


async def test_two_replicas_of_all_services_fit_under_a_burst(stores):
    _, server, _ = stores
    most, refused = Counter(), []
    async with replicas(stores, 2) as (processes, gateways):
        assert sum(process.connections for process in processes) <= MOST - RESERVED
        watching = await server.connect()

        async def watch():
            while True:
                found = await watching.fetch(
                    "select datname, count(*) from pg_stat_activity where datname like 'mc_%' group by datname"
                )
                for row in found:
                    most[row["datname"]] = max(most[row["datname"]], row["count"])
                await asyncio.sleep(0.02)

        looking = asyncio.create_task(watch())
        for _ in range(3):
            refused += [answer for answer in await _burst(gateways) if answer.status_code >= 500]
        looking.cancel()
        await asyncio.wait([looking])
        await watching.close()
        for process in processes:
            assert most[f"mc_{process.service.name}"] <= 2 * process.connections
    assert not [answer for answer in refused if answer.status_code != 503], refused
    assert all(answer.headers["retry-after"] for answer in refused)
    assert "53300" not in server.log.read_text()
    assert not re.search("too many|slots are reserved", server.log.read_text())


async def _until_well(gateways):
    async with asyncio.timeout(60):
        while [  # noqa: ASYNC110 - asked again until it is well
            answer for answer in await _burst(gateways, 20) if answer.status_code >= 500
        ]:
            await asyncio.sleep(0.5)


async def _cut(admin):
    await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename like 'mc\\_%'")


async def _each(server, *statements):
    """Do this to every service's database, and cut its connections."""
    admin = await server.connect()
    try:
        for name in NAMES:
            for statement in statements:
                await admin.execute(statement.format(f"mc_{name}"))
        await _cut(admin)
    finally:
        await admin.close()


async def _within(server, *statements):
    """Do this in every service's database, as its superuser."""
    for name in NAMES:
        admin = await server.connect(f"mc_{name}")
        try:
            for statement in statements:
                await admin.execute(statement.format(f"mc_{name}"))
        finally:
            await _cut(admin)
            await admin.close()


async def _moved(server, old, new):
    """A database with a connection is not renamed: while it is, it takes none."""
    admin = await server.connect()
    try:
        for name in NAMES:
            before, after = old.format(f"mc_{name}"), new.format(f"mc_{name}")
            await admin.execute(f"alter database {before} allow_connections false")
            await _cut(admin)
            await admin.execute(f"alter database {before} rename to {after}")
            await admin.execute(f"alter database {after} allow_connections true")
    finally:
        await admin.close()


async def _standby(server, *, on):
    await server.stop()
    signal = server.data_dir / "cluster" / "standby.signal"
    signal.touch() if on else signal.unlink()
    await server.start()


FAULTS = {
    "may not log in": (
        lambda server: _each(server, "alter role {} nologin"),
        lambda server: _each(server, "alter role {} login"),
    ),
    "too many": (
        lambda server: _each(server, "alter role {} connection limit 0"),
        lambda server: _each(server, "alter role {} connection limit -1"),
    ),
    "takes nobody": (
        lambda server: _each(server, "alter database {} allow_connections false"),
        lambda server: _each(server, "alter database {} allow_connections true"),
    ),
    "gone": (
        lambda server: _moved(server, "{}", "{}_away"),
        lambda server: _moved(server, "{}_away", "{}"),
    ),
    "empty": (
        lambda server: _within(
            server, "alter schema public rename to away; create schema public; grant all on schema public to {}"
        ),
        lambda server: _within(server, "drop schema public; alter schema away rename to public"),
    ),
    "not permitted": (
        lambda server: _within(server, "revoke all on all tables in schema public from {}"),
        lambda server: _within(server, "grant all on all tables in schema public to {}"),
    ),
    "only reads": (
        lambda server: _each(server, "alter role {} set default_transaction_read_only = on"),
        lambda server: _each(server, "alter role {} reset default_transaction_read_only"),
    ),
    "standby": (lambda server: _standby(server, on=True), lambda server: _standby(server, on=False)),
}
READS = {"only reads", "standby"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_database_that_refuses_is_waited_for(stores, fault):
    _, server, urls = stores
    breaks, mends = FAULTS[fault]
    async with replicas(stores, 1) as (processes, gateways):
        await _until_well(gateways)
        await breaks(server)
        try:
            async with httpx.AsyncClient(base_url=gateways[0], timeout=10, trust_env=False) as client:
                for _ in range(20):
                    for path in ("/v1/courses?q=data", "/v1/subjects", "/.well-known/jwks.json"):
                        answer = await client.get(path)
                        assert answer.status_code in {200, 503}, answer.text
                        assert answer.status_code == 200 or answer.headers["retry-after"]
                    refused = await client.post("/v1/sign-ins", json={"email": "a@example.org", "password": "b" * 12})
                    expected = {401, 503} if fault in READS else {503}
                    assert refused.status_code in expected, refused.text
                    assert refused.status_code == 401 or refused.headers["retry-after"]
                    await asyncio.sleep(0.1)
                for process in processes:
                    ready = await client.get(f"http://127.0.0.1:{process.service.settings.port}/health/ready")
                    assert (ready.status_code, ready.headers["retry-after"]) == (503, "2")
            for name, url in urls.items():
                statuses = await _answers(name, url)
                assert statuses[503], (name, statuses)
        finally:
            await mends(server)
        assert not any(running.done() for running in processes_running)
        await _until_well(gateways)
