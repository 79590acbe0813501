"""The way in: strangers' documents, and those in our own records."""

import asyncio
from dataclasses import replace
from datetime import datetime

from credentials.adapters.verification.limits import Limits
from credentials.adapters.verification.outside import Unreachable, Web
from credentials.adapters.verification.places import Turns
from credentials.adapters.verification.report import Report
from credentials.adapters.verification.verifier import Asking
from credentials.adapters.verification.workbench import Forks, Workbench


class Verifier:
    def __init__(self, limits: Limits, outside: Web) -> None:
        self.limits = limits
        self.outside = outside
        self.forks = Forks()
        self.workbench = Workbench(limits, self.forks)
        # Our own pages wait in no line with strangers' documents.
        self._records = Workbench(replace(limits, workers=1, niceness=0), self.forks)
        self._turns = Turns(limits.waiting_of_one)

    async def run(self) -> None:
        """Ends the processes when it is cancelled."""
        await self.forks.run()

    async def verify(self, raw: bytes, web: Web, now: datetime, *, client: str) -> Report:
        """The answers to every question about a credential as `client` (an address) handed it in.

        Nothing of it is computed in this process. Raises VerifierBusy, TooCostly, and what `examination.examine` raises
        for what is no credential at all.
        """
        async with self._turns.of(client):
            return await self.workbench.verify(raw, _Sources(web, self.limits), now)

    async def verify_own(self, raw: bytes, web: Web, now: datetime) -> Report:
        """The same about one in our own records, so the newest version there is, and looked at often.

        What it refers to is ours too, so that its signature and its list are looked at here.
        """
        examined = await self._records.examine(raw)
        self._records.keep(raw, examined)
        return await Asking(self._records, _Sources(web, self.limits), now).report(examined)


class _Sources:
    """One verification's fetches: each address once, few in all, and within one span of time."""

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
