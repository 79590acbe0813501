"""An issuer's public keys, as its JWK set (RFC 7517) last told them."""

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
"""Between two looks, whatever is asked for."""
RETRY_SECONDS: Final = 15.0
"""Until a look that failed is tried again for keys that are known."""
MOST_WAITING: Final = 100

FetchKeys = Callable[[], Awaitable[Mapping[str, Any]]]
"""Fetches a JWK set. Any: JSON."""


class IssuerKeys:
    """The keys by `kid`. They are looked at again when they are too old, and when one is asked for that is not there.

    Nobody is told that a key does not exist before the issuer was asked after they came: two rotations may lie between
    two looks. While the issuer is away, or does not answer, the known keys go on working.
    """

    def __init__(self, away: type[Unavailable], *, max_age_seconds: float) -> None:
        """`away` is raised where it cannot be told whether a key exists."""
        self._away, self._max_age = away, max_age_seconds
        self.known: dict[str, jwt.PyJWK] = {}
        """Another dictionary after every look that succeeded."""
        self._heard = self._looked = self._asked = float("-inf")
        self._failure: Exception | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    def is_fresh(self) -> bool:
        return time.monotonic() - self._heard < self._max_age

    async def find(self, kid: str, fetch: FetchKeys) -> jwt.PyJWK | None:
        """The key, or None where the issuer publishes none of that name.

        An unknown one is waited for until the next look, some seconds at most. Raises `away`, or where nobody was ever
        heard of what the fetching raised.
        """
        arrived = time.monotonic()
        if kid not in self.known:
            await self._look_for_unknown(arrived, fetch)
        elif not self.is_fresh() and arrived - self._looked > RETRY_SECONDS:
            await self._look(arrived - RETRY_SECONDS, fetch)
        return self.known.get(kid)

    async def _look_for_unknown(self, arrived: float, fetch: FetchKeys) -> None:
        if self._waiting >= MOST_WAITING:
            raise self._cannot_tell()
        self._waiting += 1
        try:
            await self._look(arrived, fetch)
        finally:
            self._waiting -= 1
        if self._failure is not None:
            if self.known or isinstance(self._failure, jwt.PyJWTError):  # what came holds no keys
                raise self._cannot_tell() from self._failure
            raise self._failure.with_traceback(None)

    def _cannot_tell(self) -> Unavailable:
        return self._away("who you are cannot be checked at the moment", headers={"Retry-After": "1"})

    async def _look(self, since: float, fetch: FetchKeys) -> None:
        """Ask the issuer, unless it was asked since then, or a moment ago in vain."""
        async with self._turn:
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
                self._heard = asked
            self._asked, self._looked = asked, time.monotonic()
