"""A partner's own server: takes webhooks, checks them with the specification's library, answers as it is set up to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from standardwebhooks import Webhook

from credentials.exchange.api.messages import router

DOCUMENTED = {
    route.path: TypeAdapter(kind)
    for route in router.routes
    if isinstance(route, APIRoute) and (kind := route.body_field.field_info.annotation)
}


def as_documented(message: dict) -> dict:
    """The message, which is all that the OpenAPI document says of its type, and no more."""
    documented = DOCUMENTED[message["type"]]
    assert documented.dump_python(documented.validate_python(message), mode="json") == message
    return message


@dataclass
class Partner:
    port: int = 0
    status: int = 200
    body: bytes = b"thanks"
    extra: str = ""
    seconds: float = 0.0
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def messages(self, secret: str) -> list[dict]:
        """Every message, verified; one with a wrong signature or an old timestamp raises."""
        return [as_documented(Webhook(secret).verify(body, headers)) for headers, body in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.got.append((headers, body.decode()))
        await asyncio.sleep(self.seconds)
        writer.write(
            f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n{self.extra}\r\n".encode()
            + self.body
        )
        writer.close()

    def types(self) -> list[str]:
        return [as_documented(json.loads(body))["type"] for _, body in self.got]


@asynccontextmanager
async def partner_server(tls: SSLContext | None = None) -> AsyncIterator[Partner]:
    partner = Partner()
    server = await asyncio.start_server(partner.serve, "127.0.0.1", 0, ssl=tls)
    partner.port = server.sockets[0].getsockname()[1]
    try:
        yield partner
    finally:
        server.close()
