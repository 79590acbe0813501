"""Password hashing, argon2id at OWASP's floor, in few threads of its own: it is made to be slow."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
    """At most `threads` hashes at once and `waiting` more in line."""

    def __init__(self, *, threads: int = 2, waiting: int = 64) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES, type=Type.ID)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._room = threads + waiting
        self._dummy = self._hasher.hash("nobody has this password")

    async def make(self, password: str) -> str:
        """:raises SignInBusy: 503"""
        return await self._run(self._hasher.hash, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether it is the password; takes as long where there is no hash to compare with.

        :raises SignInBusy: 503
        """
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
        if self._room <= 0:
            raise SignInBusy("too many people are signing in at this moment", headers={"Retry-After": "1"})
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, partial(function, *arguments, **named)
            )
        finally:
            self._room += 1
