"""What lies between a service and its database: a line that may fall silent, as a host that hangs or a balancer that
has forgotten it does. Whoever speaks into it is acknowledged, and gets no answer."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from sqlalchemy.engine import make_url


class Line:
    def __init__(self, to: str) -> None:
        self._to = to
        self._silent: set[asyncio.Event] = set()
        self._carried: set[asyncio.Event] = set()
        self.all_silent = False
        """Those too that are opened from now on."""
        self.url = ""

    def fall_silent(self) -> int:
        """Whatever is open; how many connections."""
        for one in self._carried:
            one.set()
        count = len(self._carried)
        self._silent |= self._carried
        self._carried = set()
        return count

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent = asyncio.Event()
        (self._silent if self.all_silent else self._carried).add(silent)
        if self.all_silent:
            silent.set()
        database = await asyncio.open_unix_connection(self._to)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(_pass_on(reader, database[1], silent), _pass_on(database[0], writer, silent))
        self._carried.discard(silent)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: asyncio.Event) -> None:
    try:
        while received := await reader.read(65536):
            if not silent.is_set():
                writer.write(received)
                await writer.drain()
        if silent.is_set():
            await asyncio.Event().wait()  # nor does it learn that the other has gone
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def line_to(url: str) -> AsyncGenerator[Line]:
    address = make_url(url)
    line = Line(f"{address.query['host']}/.s.PGSQL.5432")
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line.url = address.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    before = asyncio.all_tasks()
    try:
        yield line
    finally:
        server.close()
        for task in asyncio.all_tasks() - before:
            if "Line.carry" in repr(task.get_coro()):
                task.cancel()
