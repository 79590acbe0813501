"""The event loop of a process, its HTTP server, and the signals that end it."""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from shared import liveness

R = TypeVar("R")


def run_loop(main: Coroutine[None, None, R]) -> R:
    """Run a coroutine as asyncio.run does, on the loop uvicorn would choose: uvloop, where installed, serves a third
    more requests."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(main)


def settle() -> None:
    """Exempt the objects there are from garbage collection; call it once, when the process is built.

    A full collection would hold up the requests under way for a tenth of a second.
    """
    gc.collect()
    gc.freeze()


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: several run in one process, and the process decides when they stop."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        liveness.beat()
        return await super().on_tick(counter)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and leave no socket open at the end, also when cancelled."""
        try:
            await super().serve(sockets)
        finally:
            for listening in getattr(self, "servers", ()):
                listening.close()
            for connection in list(self.server_state.connections):
                connection.shutdown()


@asynccontextmanager
async def stop_on_signals(*, within: float | None = None) -> AsyncGenerator[asyncio.Event]:
    """Yield an event that SIGTERM or SIGINT sets; a process that has not ended `within` so many seconds is killed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    at_last = threading.Timer(within or 0, _end_at_once)  # a thread: the loop may be what hangs
    at_last.daemon = True

    def begin_to_stop() -> None:
        if within is not None and not stop.is_set():
            at_last.start()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin_to_stop)
    try:
        yield stop
    finally:
        at_last.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _end_at_once() -> None:
    sys.stderr.write("this process did not end in time\n")
    os._exit(1)
