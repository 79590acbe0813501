"""Examining strangers' documents in processes of their own, bounded in time, memory and number."""

import asyncio
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256

from credentials.adapters.verification.examination import Examined, TooCostly
from credentials.adapters.verification.limits import Limits
from credentials.adapters.verification.wire import ANSWERS, HEAD, LIMITS, pack, refusal
from shared.errors import Unavailable

log = logging.getLogger(__name__)

_STARTING = 20.0
"""Seconds a process may take on its first document beyond the document's own."""


class VerifierBusy(Unavailable):
    """Too many documents are waiting to be examined."""


class _Worker:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.started = False

    async def ask(self, document: bytes, seconds: float) -> bytes:
        """Raises TooCostly; the process is gone then."""
        assert self.process.stdin is not None, "started with pipes"
        assert self.process.stdout is not None, "started with pipes"
        try:
            async with asyncio.timeout(seconds + (0 if self.started else _STARTING)):
                self.process.stdin.write(pack(document))
                await self.process.stdin.drain()
                size = int.from_bytes(await self.process.stdout.readexactly(HEAD), "big")
                answer = await self.process.stdout.readexactly(size)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            self.end()
            code = await self.process.wait()
            log.warning("a document was too costly to examine", extra={"bytes": len(document), "exit": code})
            raise TooCostly("understanding this document takes more than any honest one needs") from error
        except asyncio.CancelledError:
            self.end()
            raise
        self.started = True
        return answer

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()


@dataclass(frozen=True)
class _Kept:
    examined: Examined
    size: int
    until: float


class Workbench:
    """Starts its processes when first needed; a killed one is replaced with the next document."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._idle: list[_Worker] = []
        self._room = asyncio.Semaphore(limits.workers)
        self._waiting = 0
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()  # the oldest first
        self._kept_bytes = 0

    async def examine(self, document: bytes) -> Examined:
        """What the document says. Raises TooCostly, VerifierBusy, and what `examination.examine` raises."""
        self._forget(more=0)
        kept = self._kept.get(sha256(document).digest())
        if kept is not None:
            return kept.examined
        answer = ANSWERS.validate_json(await self._ask(document))
        if answer.examined is None:
            raise refusal(answer.code or "", answer.detail)
        return answer.examined

    def keep(self, document: bytes, examined: Examined) -> None:
        """For a while, if there is room for it: what proved genuine, is public, and is looked at again and again."""
        digest, size = sha256(document).digest(), len(document)
        if digest in self._kept or size > self.limits.kept_document_bytes:
            return
        self._forget(more=size)
        self._kept[digest] = _Kept(examined, size, time.monotonic() + self.limits.kept_document_seconds)
        self._kept_bytes += size

    def _forget(self, *, more: int) -> None:
        """What was kept long enough, and what stands in the way of `more` bytes."""
        now, most = time.monotonic(), self.limits.kept_document_bytes - more
        while self._kept and (self._kept_bytes > most or next(iter(self._kept.values())).until <= now):
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.size

    async def run(self) -> None:
        """Ends the processes when it is cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            for worker in self._idle:
                worker.end()
            self._idle.clear()

    async def _ask(self, document: bytes) -> bytes:
        if self._waiting >= self.limits.waiting:
            raise _busy()
        self._waiting += 1
        try:
            async with self._room:
                worker = self._idle.pop() if self._idle else await self._start()
                if worker.process.returncode is not None:
                    worker = await self._start()
                answer = await worker.ask(document, self.limits.patience)
                self._idle.append(worker)
                return answer
        finally:
            self._waiting -= 1

    async def _start(self) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "credentials.adapters.verification.worker",
            LIMITS.dump_json(self.limits).decode(),
            stdin=PIPE,
            stdout=PIPE,
            limit=1 << 24,
            start_new_session=True,  # a Ctrl-C in the terminal is for us; it ends when its standard input does
            # Of our settings it gets none: among them are the keys.
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ},
        )
        return _Worker(process)


class Turns:
    """Lets each client have one document examined at a time, so that nobody takes the places of all."""

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._present = Counter[str]()
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def of(self, client: str) -> AsyncGenerator[None]:
        """Waits for the client's turn. Raises VerifierBusy where too many of theirs are in line already."""
        if self._present[client] > self._waiting:
            raise _busy()
        self._present[client] += 1
        try:
            async with self._locks.setdefault(client, asyncio.Lock()):
                yield
        finally:
            self._present[client] -= 1
            if not self._present[client]:
                del self._present[client], self._locks[client]


def _busy() -> VerifierBusy:
    return VerifierBusy("many documents are being checked; try again shortly", headers={"Retry-After": "5"})
