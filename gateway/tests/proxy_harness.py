"""A front door on a real socket with a scripted service behind it."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from pydantic import SecretStr

from embedded.workspace import BEHIND_THE_GATEWAY
from gateway.edge.access_log import AccessLog
from gateway.edge.cors import Origins
from gateway.edge.guard import Limits
from gateway.edge.proxy import Proxy, ProxyPolicy
from gateway.edge.rate_limit import Policy
from gateway.edge.routes import Route, Routes
from gateway.edge.server import GuardedProtocol
from gateway.edge.upstream import Upstream
from gateway.settings import Settings
from shared.access import TokenVerifier
from shared.running import Server
from shared.testing.services import AUDIENCE, ISSUER, Issuer

WRAPPING_KEY = base64.b64encode(b"a wrapping key for the tests on.").decode()


def gateway_settings(url: str, **more) -> Settings:
    given = {
        "wrapping_key": SecretStr(WRAPPING_KEY),
        "services": dict.fromkeys(BEHIND_THE_GATEWAY, "http://127.0.0.1:9"),
        "rates": {"anonymous": (100_000, 1), "person": (100_000, 1), "credentials": (100_000, 1)},
    }
    return Settings(
        database_url=url,
        feed_secret=SecretStr("test"),
        **(given | more),
    )


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" + b'{"ok":true}'


@dataclass
class Seen:
    """One request as it reached the service."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n")[0]

    @property
    def headers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in self.head.split(b"\r\n")[1:]:
            if line:
                name, _, value = line.decode("latin-1").partition(": ")
                found.setdefault(name.lower(), []).append(value)
        return found


Behave = Callable[["Seen", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


async def answer_ok(seen, reader, writer):
    writer.write(OK)
    return True


@dataclass
class ScriptedService:
    """Reads whole requests (unless set up otherwise), records them, behaves as set up."""

    behave: Behave = answer_ok
    read_body: bool = True
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    broken: int = 0
    port: int = 0

    async def handle(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                seen = Seen(head)
                if self.read_body:
                    seen.body = await read_body(seen.headers, reader)
                self.seen.append(seen)  # whole requests only
                if not await self.behave(seen, reader, writer):
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.broken += 1
        finally:
            writer.close()


async def read_body(headers, reader) -> bytes:
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"][0]))
    if "transfer-encoding" not in headers:
        return b""
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(parts)


async def own_app(scope, receive, send):
    """Stands for the gateway's own API: says what it was given."""
    body = (await receive())["body"]
    if scope["query_string"] == b"silent":  # as where a database takes no notice of a cancellation either
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)
    report = json.dumps(
        {"path": scope["path"], "headers": [[n.decode(), v.decode()] for n, v in scope["headers"]], "size": len(body)}
    ).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(report))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": report})


@dataclass
class Door:
    port: int
    service: ScriptedService
    issuer: Issuer
    verifier: TokenVerifier
    upstream: Upstream
    log: list[dict]

    async def send(self, *pieces: bytes, seconds: float = 5) -> bytes:
        """Everything that comes back until the door closes, or until it is quiet for a moment."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)
            async with asyncio.timeout(seconds):
                while not whole(answer, pieces[0]):
                    chunk = await reader.read(65536)
                    if not chunk:
                        break
                    answer += chunk
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()
        return answer

    async def get(self, path: str, *headers: str, method: str = "GET", body: bytes = b"", seconds: float = 5):
        lines = [f"{method} {path} HTTP/1.1", "Host: door.example", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return Answer(await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body, seconds=seconds))


def whole(answer: bytes, request: bytes) -> bool:
    head, found, rest = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    lowered = head.lower()
    if request.startswith(b"HEAD "):
        return True
    if b"content-length: " in lowered:
        return len(rest) >= int(lowered.split(b"content-length: ")[1].split(b"\r\n")[0])
    return (
        rest.endswith(b"0\r\n\r\n") if b"chunked" in lowered else lowered.startswith((b"http/1.1 204", b"http/1.1 304"))
    )


class Answer:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1]) if raw else 0
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.decode("latin-1").partition(": ")
            self.headers[name.lower()] = value

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json()["code"]


class QuickProtocol(GuardedProtocol):
    head_seconds = 0.5
    unread_seconds = 0.5


@asynccontextmanager
async def front_door(
    service=None,
    *,
    rates=None,
    proxy_policy=None,
    origins=(),
    idle_seconds=4.0,
    max_connections=256,
    keyed=(),
    public=(),
):
    """`keyed` are the paths whose POST takes an Idempotency-Key, `public` the methods and paths for any origin."""
    service = service or ScriptedService()
    listening = await asyncio.start_server(service.handle, "127.0.0.1", 0, limit=2**20)
    service.port = listening.sockets[0].getsockname()[1]
    issuer = Issuer()
    verifier = TokenVerifier(ISSUER, AUDIENCE, issuer.keys)
    upstream = Upstream(
        "catalogue",
        f"http://127.0.0.1:{service.port}",
        idle_seconds=idle_seconds,
        max_connections=max_connections,
    )
    dead = Upstream("dead", "http://127.0.0.1:9")
    lines: list[dict] = []
    proxy = Proxy(
        routes=Routes(
            [
                Route(
                    "/v1/courses",
                    "catalogue",
                    ("GET", "POST", "PUT", "DELETE"),
                    parameter_limits=(("q", "searches"),),
                ),
                Route("/v1/files", "catalogue", ("PUT",), max_body=4_000_000),
                Route("/health/live", "gateway", ("GET",), free=True),
                Route("/v1/dead", "dead", ("GET", "POST")),
                Route("/v1/accounts", "gateway", ("GET", "POST"), limit="credentials"),
            ]
        ),
        upstreams={"catalogue": upstream, "dead": dead},
        own=own_app,
        verify=verifier.verify,
        origins=Origins(origins),
        policies={
            name: Policy(name, *(rates or {}).get(name, (100_000, 60)))
            for name in ("anonymous", "person", "partner", "credentials", "searches")
        },
        access_log=AccessLog(lambda text: lines.extend(map(json.loads, text.splitlines())), release="test"),
        proxy_policy=proxy_policy or ProxyPolicy(limits=Limits(body=1000), timeout=1.0),
        takes_key=lambda method, path, _: method == "POST" and path in keyed,
        any_origin=lambda method, path, _: (method, path) in public,
    )
    server = Server(
        uvicorn.Config(
            proxy,
            host="127.0.0.1",
            port=0,
            http=QuickProtocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            proxy_headers=False,
        )
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn shows it in no other way
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Door(port, service, issuer, verifier, upstream, lines)
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving
        upstream.close()
        listening.close()


__all__ = ["OK", "Answer", "Door", "ScriptedService", "Seen", "answer_ok", "front_door", "gateway_settings"]
