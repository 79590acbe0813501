"""A database server that refuses every connection."""

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


@asynccontextmanager
async def refusing_database(sqlstate: str) -> AsyncGenerator[str]:
    """Yield the URL of a server that refuses every connection with this SQLSTATE, as PostgreSQL does."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code = _ASKS_FOR_TLS
        while code == _ASKS_FOR_TLS:
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            (code,) = struct.unpack("!i", (await reader.readexactly(length - 4))[:4])
            if code == _ASKS_FOR_TLS:
                writer.write(b"N")
        fields = b"".join(one + b"\0" for one in (b"SFATAL", b"VFATAL", b"C" + sqlstate.encode(), b"Mnot now", b""))
        writer.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"postgresql+asyncpg://nobody:wrong@127.0.0.1:{port}/none"
    finally:
        listening.close()


_ASKS_FOR_TLS = 80877103  # SSLRequest
