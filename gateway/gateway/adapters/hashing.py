"""Password hashing, argon2id at OWASP's floor, in few threads of its own: it is made to be slow."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, ParamSpec, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from shared.errors import Unavailable

_MEMORY_KIB: Final = 19_456
_PASSES: Final = 2
_LANES: Final = 1

P = ParamSpec("P")
T = TypeVar("T")


class SignInBusy(Unavailable):
    """More people sign in at once than can be checked; nobody else is slowed down."""


class Hashing:
    """At most `threads` hashes at once (a core is left for everybody else) and `waiting` more people in line."""

    def __init__(self, *, threads: int | None = None, waiting: int = 40) -> None:
        threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES, type=Type.ID)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._room = threads + waiting
        self._turns = asyncio.Semaphore(threads)
        self._dummy = self._hasher.hash("nobody has this password")

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """One's turn to have a password hashed; what is needed for it is asked for only then.

        :raises SignInBusy: 503, the line is full
        """
        if self._room <= 0:
            raise SignInBusy("too many people are signing in at this moment", headers={"Retry-After": "1"})
        self._room -= 1
        try:
            async with self._turns:
                yield
        finally:
            self._room += 1

    async def make(self, password: str) -> str:
        return await self._run(self._hasher.hash, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether it is the password; takes as long where there is no hash to compare with."""
        matched = await self._run(self._verify, password_hash or self._dummy, password)
        return matched and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        work = partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
