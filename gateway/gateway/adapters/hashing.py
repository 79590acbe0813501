"""Password hashing (argon2id) in a few threads of its own, since it is slow on purpose."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.domain.accounts import normal_password
from shared.digests import ARGON2ID
from shared.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


class SignInBusy(Unavailable):
    """More people sign in at once than can be checked; nobody else is slowed down."""


class Hashing:
    """Hashes and checks passwords, at most `threads` at once (a core is left for everything else).

    `waiting` more requests may wait in line.
    """

    def __init__(self, *, threads: int | None = None, waiting: int = 40) -> None:
        threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._hasher = PasswordHasher(**ARGON2ID)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._room = threads + waiting
        self._slots = asyncio.Semaphore(threads)
        self._dummy = self._hasher.hash("nobody has this password")

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Hold one of the slots for hashing a password; wait for it where all are taken.

        :raises SignInBusy: 503, too many wait already
        """
        if self._room <= 0:
            raise SignInBusy("too many people are signing in at this moment", headers={"Retry-After": "1"})
        self._room -= 1
        try:
            async with self._slots:
                yield
        finally:
            self._room += 1

    async def make(self, password: str) -> str:
        return await self._run(self._hasher.hash, normal_password(password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the hash is of the password. Without a hash it takes as long, so that time does not tell accounts.

        A hash may be of the password as it was typed, not normalised.
        """
        known = password_hash or self._dummy
        for typed in dict.fromkeys((normal_password(password), password)):
            if await self._run(self._verify, known, typed):
                return password_hash is not None
        return False

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        work = partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
