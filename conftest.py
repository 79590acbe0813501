"""What every test may ask for: a real PostgreSQL, a real RabbitMQ and tools of Node, started once for the run."""

import asyncio
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import iscoroutine
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

import gateway  # noqa: F401 - else pytest takes the folder of that name for the package
from embedded.postgres import SUPERUSER, Postgres
from embedded.rabbitmq import RabbitMQ
from shared.testing.plans import SETTINGS
from shared.testing.services import ServiceUnderTest

pytest_plugins = ["shared.testing.plugin"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control has what it starts with `&` ignore Ctrl-C, and so would all that tests start and end
    # by it: the platform would come up instead.
    signal.signal(signal.SIGINT, signal.default_int_handler)


MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes private folders in it
MEMORY_NEEDED = 8_000_000_000
"""Bytes that must be free: a run that took nothing away at all left six thousand million of them."""


def _work_in_memory() -> None:
    """Have all that tests write kept in memory, where there is room and TMPDIR says nothing else.

    A database on a disk costs the kernel several times what PostgreSQL itself does, and most tests make one.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    folder, machine = os.statvfs(MEMORY), Path("/proc/meminfo").read_text()
    available = 1024 * int(re.findall(r"MemAvailable: +(\d+) kB", machine)[0])
    may_execute = not folder.f_flag & os.ST_NOEXEC
    if may_execute and min(folder.f_bavail * folder.f_frsize, available) >= MEMORY_NEEDED:
        os.environ["TMPDIR"] = str(MEMORY)  # for what tests start, too
        tempfile.tempdir = None  # it is read anew


_work_in_memory()


LONGEST = (
    "tests/test_jobs_at_once.py",
    "services/payments/tests/test_sequences.py",
    "tools/tests/test_replay.py",
    "tests/test_simulation.py",
    "tests/test_database_limits.py",
    "tests/test_interrupted.py",
    "tests/test_new_service.py",
    "services/payments/tests/test_pairs.py",
)
"""Files that take minutes. They come first: begun last, one would run alone while the other core waits."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


@pytest.fixture(autouse=True)
async def nothing_left_running() -> AsyncIterator[None]:
    """End what a test has left running, for all tests share one event loop: a relay of a test that failed before it
    cancelled it would send the events of every later one."""
    before = asyncio.all_tasks()
    yield
    left = [task for task in asyncio.all_tasks() - before if _is_ours(task)]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=10)


def _is_ours(task: asyncio.Task[object]) -> bool:
    """Not a library's, of whatever the whole run shares."""
    coroutine, here = task.get_coro(), Path(__file__).parent
    if not iscoroutine(coroutine):
        return False
    source = Path(coroutine.cr_code.co_filename)
    return source.is_relative_to(here) and not source.is_relative_to(here / ".venv")


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="mc-tests-") as folder:
        # The tests kill and freeze it themselves where durability is the question; elsewhere fsync only costs time.
        async with Postgres(Path(folder) / "postgres", {"fsync": "off", "max_connections": 300}) as server:
            yield server


@pytest.fixture(scope="session")
async def planned_server() -> AsyncIterator[Postgres]:
    """A PostgreSQL that can write down the plan of every statement (see shared.testing.plans)."""
    with tempfile.TemporaryDirectory(prefix="mc-tests-") as folder:
        async with Postgres(Path(folder) / "postgres", {"fsync": "off", **SETTINGS}) as server:
            yield server


@pytest.fixture(scope="session")
def make_database(postgres: Postgres) -> Callable[[str], Awaitable[str]]:
    async def make(name: str) -> str:
        await postgres.create_role_and_database(name)
        return postgres.url(name, name)

    return make


@pytest.fixture(scope="session")
def copy_database(postgres: Postgres) -> Callable[[str, str], Awaitable[str]]:
    async def copy(source: str, name: str) -> str:
        admin = await postgres.connect()
        # Its role would else hand over the database itself with what is in it, and only of the first copy.
        await admin.execute(f'alter database "{source}" owner to {SUPERUSER}')
        await admin.execute(f'create database "{name}" template "{source}"')
        url = await postgres.create_role_and_database(name)
        await admin.execute(f'alter database "{name}" owner to "{name}"')
        await admin.close()
        within = await postgres.connect(name)
        await within.execute(f'reassign owned by "{source}" to "{name}"')
        await within.close()
        return url

    return copy


@pytest.fixture
async def superuser(postgres: Postgres, live: ServiceUnderTest) -> AsyncIterator[Any]:  # Any: asyncpg ships no types
    """A connection to the database of `live` that may do anything."""
    database = live.process.database.web.url.database
    assert database
    connection = await postgres.connect(database)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def amqp_url() -> AsyncIterator[str]:
    """The broker given by AMQP_URL, else one of our own; a test that needs it fails, and says why, without either."""
    given = os.environ.get("AMQP_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="mc-tests-") as folder:
        async with RabbitMQ(Path(folder) / "rabbitmq") as broker:
            yield broker.url


def _others_data(what: str) -> Path | None:
    """Data of others that no clone has: where MC_SHARED_DATA says, or beside the project."""
    folder = Path(os.environ.get("MC_SHARED_DATA") or Path(__file__).parents[1] / "shared" / "data") / what
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def published_schemas() -> Path:
    """1EdTech's JSON schemas of Open Badges 3.0 and CLR 2.0; a test that compares with them is skipped without."""
    folder = _others_data("1edtech/schemas")
    if folder is None:
        pytest.skip(PUBLISHED_SCHEMAS_MISSING)
    return folder


PUBLISHED_SCHEMAS_MISSING = "1EdTech's schemas are no part of the project (README, What the tests need)"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    without = sum(
        PUBLISHED_SCHEMAS_MISSING in str(report.longrepr) for report in terminalreporter.getreports("skipped")
    )
    if without:
        terminalreporter.write_line(f"{without} tests were left out: {PUBLISHED_SCHEMAS_MISSING}.")


@pytest.fixture(scope="session")
def open_university() -> Path | None:
    """The Open University Learning Analytics Dataset, where it is at hand."""
    return _others_data("oulad")


@pytest.fixture(scope="session")
def node_tools() -> Path:
    """A folder with what stands in tests/node and its packages installed; run its scripts there with `node`.

    Kept under .local/ until the lock changes. A test that needs it fails, and says why, without npm.
    """
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing: these tests need Node 18 or newer (Debian: apt-get install nodejs npm)")
    source, made = Path(__file__).parent / "tests/node", Path(__file__).parent / ".local/node"
    made.mkdir(parents=True, exist_ok=True)
    with (made / "being-installed").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        for file in source.iterdir():
            if file.is_file():
                shutil.copy2(file, made)
        locked, installed = (made / "package-lock.json").read_bytes(), made / "installed"
        if not installed.exists() or installed.read_bytes() != locked:
            done = subprocess.run(["npm", "ci"], cwd=made, capture_output=True, text=True, check=False)  # noqa: S607 - the caller's npm
            if done.returncode:
                pytest.fail(f"npm ci could not install what tests/node locks:\n{done.stderr}")
            installed.write_bytes(locked)
    return made


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium; a test that needs it fails, and says why, without."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "these tests need Chromium: apt-get install chromium"
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        await browser.close()
