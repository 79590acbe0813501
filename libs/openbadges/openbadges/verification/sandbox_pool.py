"""The sandbox pool: strangers' documents are worked on in processes of their own, bounded in time, memory and
number."""

import asyncio
import logging
import os
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from openbadges.verification.limits import Limits
from openbadges.verification.outside import Unreachable, Web
from openbadges.verification.parsing import ParsedCredential, TooCostly
from openbadges.verification.report import Report
from openbadges.verification.slots import Slot, Slots, busy
from openbadges.verification.wire import (
    ANSWERS,
    FAILURES,
    FETCHES,
    HEAD,
    ORDERS,
    Answer,
    Failure,
    Kind,
    Order,
    error_of,
    pack,
)

log = logging.getLogger(__name__)

_STARTING = 30.0
"""Seconds the first process may take to start; the others are forks of it."""
_NOTICING = 0.1
"""Seconds in which we learn that a process has ended."""


class Forks:
    """The process that is forked for each document (`worker`); started when first needed, and again if it is gone."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def line(self) -> AsyncGenerator["Line"]:
        """Open a line to a new process, which ends with its slice after the line is closed."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                control = await self._running()
                socket.send_fds(control, [b"\0"], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            yield Line(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Start the process, say so by `started`, and end it on cancellation."""
        try:
            await self._running()
            started()
            await asyncio.Event().wait()
        finally:
            self.end()

    def end(self) -> None:
        """End the worker process, if it runs."""
        if self._control is not None:
            self._control.close()
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()

    async def have_ended(self) -> bool:
        """Return whether the process itself has ended, and not only the one forked for a document."""
        if self.process is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), _NOTICING)
        return self.process is None or self.process.returncode is not None

    async def _running(self) -> socket.socket:
        async with self._starting:
            if self._control is None or self.process is None or self.process.returncode is not None:
                self.end()
                self._control, theirs = socket.socketpair()
                with theirs:
                    self.process = await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-m",
                        "openbadges.verification.worker",
                        str(theirs.fileno()),
                        stdin=DEVNULL,
                        stdout=DEVNULL,
                        pass_fds=[theirs.fileno()],
                        start_new_session=True,  # a Ctrl-C in the terminal is for us; it ends with its socket
                        # It gets none of our settings, since the keys are among them.
                        env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ},
                    )
            return self._control


class Line:
    """A socket to the process that works on one document."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, *messages: bytes) -> None:
        self._writer.writelines(messages)
        await self._writer.drain()

    async def read(self) -> tuple[Kind, bytes]:
        kind, size = HEAD.unpack(await self._reader.readexactly(HEAD.size))
        return Kind(kind), await self._reader.readexactly(size)


@dataclass(frozen=True)
class _Kept:
    parsed: ParsedCredential
    size: int
    until: float


class SandboxPool:
    """Has documents verified or parsed, each in a process of its own."""

    def __init__(self, limits: Limits, forks: Forks) -> None:
        self.limits = limits
        self.slots = Slots(limits)
        self._forks = forks
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()  # the oldest first
        self._kept_bytes = 0

    async def verify(self, document: bytes, web: Web, now: datetime) -> Report:
        """Return the answers to every question about a document.

        Raises TooCostly, VerifierBusy, and what `parsing.parse` raises for what is no credential at all.
        """
        answer = await self._answer(document, web, now)
        assert answer.report is not None, "it was asked for"
        return answer.report

    async def parse(self, document: bytes) -> ParsedCredential:
        """Return what a document says. Raises TooCostly, VerifierBusy, and what `parsing.parse` raises."""
        self._forget(more=0)
        kept = self._kept.get(sha256(document).digest())
        if kept is not None:
            return kept.parsed
        answer = await self._answer(document, None, None)
        assert answer.parsed is not None, "it was asked for"
        return answer.parsed

    def keep(self, document: bytes, parsed: ParsedCredential) -> None:
        """Keep what a document says for a while, if there is room: one that proved genuine, is public, and is asked for
        often."""
        digest, size = sha256(document).digest(), len(document)
        if digest in self._kept or size > self.limits.kept_document_bytes:
            return
        self._forget(more=size)
        self._kept[digest] = _Kept(parsed, size, time.monotonic() + self.limits.kept_document_seconds)
        self._kept_bytes += size

    def _forget(self, *, more: int) -> None:
        """Drop what was kept long enough, and the oldest until there is room for `more` bytes."""
        now, most = time.monotonic(), self.limits.kept_document_bytes - more
        while self._kept and (self._kept_bytes > most or next(iter(self._kept.values())).until <= now):
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.size

    async def _answer(self, document: bytes, web: Web | None, now: datetime | None) -> Answer:
        order = pack(Kind.ORDER, ORDERS.dump_json(Order(self.limits, now)))
        with self.slots.of(document) as slot:
            await slot.take()
            try:
                async with self._forks.line() as line:
                    await line.send(order, pack(Kind.DOCUMENT, document))
                    answer = await self._talk(line, slot, web)
            except (TimeoutError, asyncio.IncompleteReadError, OSError) as error:
                if await self._forks.have_ended():
                    raise busy() from error
                log.warning("a document was too costly to examine", extra={"bytes": len(document)})
                raise TooCostly("understanding this document takes more than any honest one needs") from error
        if answer.refused is not None:
            raise error_of(answer.refused)
        return answer

    async def _talk(self, line: Line, slot: Slot, web: Web | None) -> Answer:
        """Serve the process until it has the answer. Raises TimeoutError, IncompleteReadError, OSError."""
        patience = self.limits.patience + _STARTING
        while True:
            async with asyncio.timeout(patience):
                kind, body = await line.read()
            patience = self.limits.patience
            match kind:
                case Kind.PAUSE:
                    await slot.spend(float(body))
                    await line.send(pack(Kind.GO_ON))
                case Kind.FETCH if web is not None:
                    slot.give()
                    fetched = await _fetch(web, body)
                    await slot.take()
                    await line.send(fetched)
                case _:
                    return ANSWERS.validate_json(body)


async def _fetch(web: Web, body: bytes) -> bytes:
    wanted = FETCHES.validate_json(body)
    try:
        return pack(Kind.FETCHED, await web.get(wanted.url, wanted.most_bytes, own_word=wanted.own_word))
    except Unreachable as error:
        return pack(Kind.NOT_FETCHED, FAILURES.dump_json(Failure(error.code, error.detail)))
