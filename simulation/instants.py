"""Virtual time: the platform's instant, the clocks of replicas beside it, and the database's `now()`.

Time does not pass by itself. The services' own clock functions, and the few places that ask the machine, are patched to
give the platform's while a simulation runs.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

import jwt.api_jwt
import uuid_utils.compat

import shared.clock
import shared.messaging.outbox

BEGIN: Final = datetime(2026, 11, 2, 12, tzinfo=UTC)
"""A Monday in an assessment window of the first week of a month."""

skew: ContextVar[Callable[[], timedelta]] = ContextVar("skew", default=timedelta)
"""Gives how far the clock of the replica at work is ahead of the platform's."""


class SimulatedTime:
    """The platform's instant, from which every clock is derived; only `advance` and `restart` move it."""

    def __init__(self, at: datetime = BEGIN) -> None:
        self.began = self.at = at
        self.files: list[int] = []
        """Descriptors of the files from which databases read the instant."""

    def __call__(self) -> datetime:
        return self.at

    def here(self) -> datetime:
        """Return the time by the clock of the replica at work."""
        return self.at + skew.get()()

    def seconds(self) -> float:
        """Return the platform's monotonic clock, in seconds."""
        return (self.at - self.began).total_seconds() + 1000.0

    def advance(self, by: timedelta) -> None:
        self.at += by
        self._write_files()

    def restart(self, at: datetime = BEGIN) -> None:
        self.began = self.at = at
        self._write_files()

    def set_database_clocks(self, paths: list[Path]) -> None:
        """Write this platform's instant into these files, from which the databases read it, from now on."""
        self.forget_databases()
        self.files = [os.open(path, os.O_WRONLY | os.O_CREAT, 0o644) for path in paths]
        self._write_files()

    def forget_databases(self) -> None:
        for file in self.files:
            os.close(file)
        self.files = []

    def _write_files(self) -> None:
        for file in self.files:
            os.pwrite(file, written(self.at).encode(), 0)


def written(at: datetime) -> str:
    """Return the instant as the database reads it; always of the same length."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f+00")


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers wait for the platform's time, while its sockets are as real as ever."""

    simulated: SimulatedTime | None = None
    """None between two platforms: then time is the machine's."""

    def time(self) -> float:
        return super().time() if self.simulated is None else self.simulated.seconds()


class _Kind(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def _datetime_of(simulated: SimulatedTime) -> type:
    class SimulatedDatetime(datetime, metaclass=_Kind):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # Any: datetime's own signature
            return simulated.here().astimezone(tz)

    return SimulatedDatetime


async def _inline(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:  # Any: asyncio's own signature
    """Do at once what a thread would do at a moment of its own."""
    return function(*arguments, **named)


@contextmanager
def governing(simulated: SimulatedTime, chance: random.Random) -> Iterator[None]:
    """Patch this process while the block lasts, so that time, ids and secrets come from the platform and the seed."""

    def uuid7() -> UUID:
        milliseconds = int(simulated.here().timestamp() * 1000)
        return UUID(
            int=(milliseconds << 80) | (7 << 76) | (chance.getrandbits(12) << 64) | (2 << 62) | chance.getrandbits(62)
        )

    there = _datetime_of(simulated)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop), "platforms live in their own kind of loop"
    with ExitStack() as stack:
        for module in (shared.clock, shared.messaging.outbox, jwt.api_jwt):
            stack.enter_context(patch.object(module, "datetime", there))
        stack.enter_context(patch.object(time, "time", lambda: simulated.here().timestamp()))
        stack.enter_context(patch.object(time, "monotonic", simulated.seconds))
        stack.enter_context(patch("payments.adapters.flywire.monotonic", simulated.seconds))
        stack.enter_context(patch.object(uuid_utils.compat, "uuid7", uuid7))
        stack.enter_context(patch.object(asyncio, "to_thread", _inline))
        stack.enter_context(patch.object(secrets, "randbelow", chance.randrange))
        stack.enter_context(patch.object(secrets, "choice", chance.choice))
        stack.enter_context(patch.object(secrets, "token_bytes", lambda count=32: chance.randbytes(count or 32)))
        stack.enter_context(patch.object(secrets, "token_hex", lambda count=32: chance.randbytes(count or 32).hex()))
        loop.simulated = simulated
        try:
            yield
        finally:
            loop.simulated = None
