"""Where verification begins: of strangers' documents, and of those in our own records."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from openbadges.verification.limits import Limits
from openbadges.verification.outside import Unreachable, Web
from openbadges.verification.questions import Asking
from openbadges.verification.report import Report
from openbadges.verification.sandbox_pool import Forks, SandboxPool
from openbadges.verification.slots import ClientQueue


class Verifier:
    """Verifies credentials in a pool of bounded processes."""

    def __init__(self, limits: Limits, outside: Web) -> None:
        self.limits = limits
        self.outside = outside
        self.forks = Forks()
        self.sandbox_pool = SandboxPool(limits, self.forks)
        # A pool of its own, so that our own pages do not wait behind strangers' documents.
        self._records = SandboxPool(replace(limits, workers=1, niceness=0), self.forks)
        self._client_queue = ClientQueue(limits)

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Start the processes, say so by `started`, and end them on cancellation."""
        await self.forks.run(started)

    async def verify(self, raw: bytes, web: Web, now: datetime, *, client: str) -> Report:
        """Return the answers to every question about a credential that `client` (an account or an address) uploaded.

        None of the computing is done in this process. Raises VerifierBusy, TooCostly, and what `parsing.parse` raises
        for what is no credential at all.
        """
        async with self._client_queue.of(client, raw):
            return await self.sandbox_pool.verify(raw, _Sources(web, self.limits), now)

    async def verify_own(self, raw: bytes, web: Web, now: datetime) -> Report:
        """Return the answers about a credential in our own records, which is the newest version, and often asked for.

        It is only parsed in a sandbox. Its signature and its list are checked in this process, since they are ours,
        too.
        """
        parsed = await self._records.parse(raw)
        self._records.keep(raw, parsed)
        return await Asking(self._records, _Sources(web, self.limits), now).report(parsed)


class _Sources:
    """Fetches what one verification needs: each address once, few addresses in all, and within one span of time."""

    def __init__(self, web: Web, limits: Limits) -> None:
        self._web = web
        self._left = limits.fetches
        self._until = asyncio.get_running_loop().time() + limits.total_seconds
        self._answers: dict[tuple[str, bool], bytes | Unreachable] = {}

    async def get(self, url: str, most_bytes: int, *, own_word: bool = False) -> bytes:
        asked = (url, own_word)
        if asked not in self._answers:
            self._answers[asked] = await self._ask(url, most_bytes, own_word=own_word)
        answer = self._answers[asked]
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    async def _ask(self, url: str, most_bytes: int, *, own_word: bool) -> bytes | Unreachable:
        self._left -= 1
        if self._left < 0:
            return Unreachable("too_many_addresses", "It refers to more addresses than are asked.")
        try:
            async with asyncio.timeout_at(self._until):
                return await self._web.get(url, most_bytes, own_word=own_word)
        except TimeoutError:
            return Unreachable("timed_out", "What it refers to did not answer in time.")
        except Unreachable as error:
            return error
