import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedded.postgres import Postgres

from .sandbox_harness import SandboxHarness, made

# Durability is not what most of these tests are about; those about crashes leave it on.
FAST = {"fsync": "off", "max_connections": 30}


@pytest.fixture
async def postgres(tmp_path):
    """A server of the test's own, on a path that has a space and e-mails beyond ASCII."""
    server = Postgres(tmp_path / "données de test" / "postgres", FAST)
    yield server
    await server.stop()


@pytest.fixture(scope="module")
async def running(tmp_path_factory):
    """A server that the tests of a module share, for what leaves it as it was."""
    async with Postgres(tmp_path_factory.mktemp("a shared one") / "postgres", FAST) as server:
        yield server


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SandboxHarness]:
    async with made(tmp_path / "provider.sqlite") as harness:
        yield harness


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.fixture(name="alive")
def _alive():
    return alive


def children_of(parent: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in "ZX" and int(fields[1]) == parent:
            found.add(int(stat.parent.name))
    return found


@pytest.fixture
def new_children():
    """The programs this process has started since the test began and that still run."""
    before = children_of(os.getpid())
    return lambda: children_of(os.getpid()) - before
