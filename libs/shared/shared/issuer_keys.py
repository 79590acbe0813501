"""A token issuer's public keys, as its JWK set (RFC 7517) last had them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import jwt

from shared.errors import Unavailable

log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 3.0
COOL_DOWN_SECONDS: Final = 1.0
"""Pause between two fetches of the JWK set, whichever key is asked for."""
RETRY_SECONDS: Final = 15.0
"""Pause after a failed fetch before known keys are fetched again."""
MOST_WAITING: Final = 100

FetchKeys = Callable[[], Awaitable[Mapping[str, Any]]]
"""Fetches a JWK set. Any: JSON."""


class IssuerKeys:
    """An issuer's keys by `kid`, fetched again when they are too old, and when an unknown one is asked for.

    A key counts as unknown only once a fetch that began after the question did not have it: keys may have been rotated
    twice between two fetches. While the issuer is away, or does not answer, the known keys go on working.
    """

    def __init__(self, away: type[Unavailable], *, max_age_seconds: float) -> None:
        """`away` is raised where it cannot be found out whether a key exists."""
        self._away, self._max_age = away, max_age_seconds
        self.known: dict[str, jwt.PyJWK] = {}
        """The keys; another dictionary after every successful fetch."""
        self._fetched_at = self._looked = self._asked = float("-inf")
        self._failure: Exception | None = None
        self._lock = asyncio.Lock()
        self._waiting = 0

    def is_fresh(self) -> bool:
        """Return whether the keys were fetched lately enough."""
        return time.monotonic() - self._fetched_at < self._max_age

    async def find(self, kid: str, fetch: FetchKeys) -> jwt.PyJWK | None:
        """Return the key of this id, or None where the issuer publishes none.

        An unknown key waits for the next fetch, some seconds at most. Raises `away`: the keys cannot be fetched now;
        where none ever could be, the error of the fetch itself.
        """
        arrived = time.monotonic()
        if kid not in self.known:
            await self._look_for_unknown(arrived, fetch)
        elif not self.is_fresh() and arrived - self._looked > RETRY_SECONDS:
            await self._look(arrived - RETRY_SECONDS, fetch)
        return self.known.get(kid)

    async def _look_for_unknown(self, arrived: float, fetch: FetchKeys) -> None:
        if self._waiting >= MOST_WAITING:
            raise self._unreachable()
        self._waiting += 1
        try:
            await self._look(arrived, fetch)
        finally:
            self._waiting -= 1
        if self._failure is not None:
            if self.known or isinstance(self._failure, jwt.PyJWTError):  # the answer holds no keys
                raise self._unreachable() from self._failure
            raise self._failure.with_traceback(None)

    def _unreachable(self) -> Unavailable:
        return self._away("who you are cannot be checked at the moment", headers={"Retry-After": "1"})

    async def _look(self, since: float, fetch: FetchKeys) -> None:
        """Fetch the keys, unless a fetch has begun since then, or one has failed a moment ago."""
        async with self._lock:
            if self._asked >= since:
                return
            rest = self._looked + COOL_DOWN_SECONDS - time.monotonic()
            if rest > 0 and self._failure is not None:
                return
            if rest > 0:
                await asyncio.sleep(rest)
            asked = time.monotonic()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    document = await fetch()
                self.known = {str(key.key_id): key for key in jwt.PyJWKSet.from_dict(dict(document)).keys}
            except Exception as error:  # the issuer may fail in any way; the keys we know go on working
                log.warning("the issuer's keys could not be fetched", exc_info=True)
                self._failure = error
            else:
                self._failure = None
                self._fetched_at = asked
            self._asked, self._looked = asked, time.monotonic()
