"""The whole platform for the tests that come in through its front door, in one process and each service in its own."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedded import ports
from embedded.multiprocess import ServiceProcesses, service_processes
from embedded.platform import up
from embedded.services import Deployment


@dataclass(frozen=True)
class Platform:
    deployment: Deployment
    apart: ServiceProcesses | None = None

    @property
    def url(self) -> str:
        return self.deployment.url("gateway")

    @property
    def feeds(self) -> dict[str, str]:
        """Where each service shows its event log."""
        return self.deployment.feeds


def _free_ports() -> dict[str, int]:
    return ports.assign({ports.VARIABLE: str(ports.suggest(len(ports.NAMES)))})


@pytest.fixture(scope="session")
async def embedded_platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("embedded")
    logging.getLogger().setLevel("WARNING")
    async with up(folder, _free_ports()) as (deployment, *_):
        yield Platform(deployment)


@pytest.fixture(scope="session")
async def separate_services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("separate")
    async with service_processes(folder, _free_ports()) as running:
        yield Platform(running.deployment, running)
