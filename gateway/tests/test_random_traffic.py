"""Many callers and one service, both of whom do what they like, on raw sockets: nobody gets another's bytes, no body is
cut without its reader seeing it, nothing is done twice, and nothing is left behind.

A run is a matter of seconds; MC_TRAFFIC_SEED repeats one.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from gateway.edge.guard import Limits
from gateway.edge.proxy import ProxyPolicy

from .proxy_harness import ScriptedService, answer_ok, front_door

SECONDS = 12
CALLERS = 24
SIZES = (0, 1, 100, 5_000, 70_000, 262_144, 300_000, 700_000)


def _of(tag: bytes, size: int) -> bytes:
    """A body that only this tag has."""
    block = hashlib.sha256(tag).hexdigest().encode()
    return (block * (size // len(block) + 1))[:size]


def _chunked(body: bytes, chance: Random) -> list[bytes]:
    pieces, at = [], 0
    while at < len(body):
        size = chance.choice((1, 10, 5_000, 65_536))
        size = max(size, len(body) // 50)
        piece = body[at : at + size]
        pieces.append(b"%x;note=%d\r\n%b\r\n" % (len(piece), at, piece))
        at += size
    return [*pieces, b"0\r\nx-trailer: %d\r\n\r\n" % len(body)]


@dataclass
class Service:
    """Answers with what the tag in the path says, in a way of its choosing; knows whom it has served how often."""

    chance: Random
    done: Counter = field(default_factory=Counter)
    wrong_uploads: list = field(default_factory=list)
    ways: Counter = field(default_factory=Counter)

    async def behave(self, seen, reader, writer):
        """Whole requests only: one that was cut short never comes here."""
        method, target, _ = seen.line.split(b" ")
        _, tag, size, upload = target.rsplit(b"/", 3)
        self.done[tag] += 1
        if method in {b"POST", b"PUT"} and seen.body != _of(tag + b"up", int(upload)):
            self.wrong_uploads.append((tag, len(seen.body)))
        body = _of(tag, int(size))
        way = self.chance.choice(
            ("sized",) * 6 + ("chunked",) * 4
            + ("pieces", "late", "until closed", "close", "cut", "cut chunks", "reset", "garbage", "twice", "hint")
        )  # fmt: skip
        self.ways[way] += 1
        return await self.answer(way, body, reader, writer)

    async def answer(self, way, body, reader, writer):
        """Whether the connection is to go on."""
        head, half = b"HTTP/1.1 200 OK\r\n", body[: len(body) // 2]
        sized = head + b"content-length: %d\r\n\r\n" % len(body)
        chunks = [head + b"transfer-encoding: chunked\r\n\r\n", *_chunked(body, self.chance)]
        pieces = {
            "sized": [sized + body],
            "chunked": [b"".join(chunks)],
            "pieces": [sized, *(body[at : at + 50_000] for at in range(0, len(body), 50_000))],
            "late": [sized + body],
            "until closed": [head + b"\r\n" + body],
            "close": [],
            "cut": [sized + half],
            "cut chunks": [b"".join(chunks[:-1])],
            "reset": [sized + half],
            "garbage": [b"SMTP 220 hello\r\n\r\n" + body],
            "twice": [sized + body + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"],
            "hint": [b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + sized + body],
        }[way]
        if way == "late":
            await asyncio.sleep(self.chance.random() * 1.5)  # some after the deadline
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(self.chance.random() / 200 if way == "pieces" else 0)
        if way == "reset":
            writer.transport.abort()
        return way not in ENDS


ENDS = {"until closed", "close", "cut", "cut chunks", "reset", "garbage"}


@dataclass
class Caller:
    chance: Random
    port: int
    seen: Counter = field(default_factory=Counter)
    sent: set = field(default_factory=set)
    """Tags of requests that may not be repeated."""

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._context(until)

    async def _context(self, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**21)
        try:
            while time.monotonic() < until:
                requests = [self._request() for _ in range(self.chance.choice((1, 1, 1, 2, 3)))]
                half = self.chance.random() < 0.05
                sending = asyncio.create_task(self._send(writer, b"".join(raw for raw, *_ in requests), half=half))  # noqa: RUF006 - waited for below
                try:
                    if self.chance.random() < 0.1:
                        await asyncio.sleep(self.chance.random() / 20)
                        return  # while it is answered, or before
                    for _, *expected in requests:
                        if not await self._read(reader, *expected):
                            return
                    if half:
                        assert await reader.read() == b"", "something came after the last answer"
                        return
                finally:
                    if not sending.done():
                        sending.cancel()
                        writer.transport.abort()
                    await asyncio.wait([sending])
        finally:
            writer.close()

    def _request(self):
        """Its bytes, its method and the body that is to come."""
        chance, tag = self.chance, secrets.token_hex(8).encode()
        method = chance.choice((b"GET", b"GET", b"POST", b"PUT", b"HEAD"))
        size, upload = chance.choice(SIZES), chance.choice(SIZES) if method in {b"POST", b"PUT"} else 0
        lines = [b"%b /v1/courses/%b/%d/%d HTTP/1.1" % (method, tag, size, upload), b"Host: a"]
        sending = _of(tag + b"up", upload)
        if upload and chance.random() < 0.5:
            lines.append(b"Transfer-Encoding: chunked")
            sending = b"".join(_chunked(sending, chance))
        elif method in {b"POST", b"PUT"}:
            lines.append(b"Content-Length: %d" % upload)
        if chance.random() < 0.2:  # Java's client and curl offer HTTP/2 with every request
            lines += [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAA"]
        if method == b"POST":
            self.sent.add(tag)
            if chance.random() < 0.5:
                lines.append(b"Idempotency-Key: " + tag)  # which the service does not take
        return b"\r\n".join(lines) + b"\r\n\r\n" + sending, method, _of(tag, size)

    async def _send(self, writer, raw: bytes, *, half: bool) -> None:
        at = 0
        while at < len(raw):
            size = self.chance.choice((1, 100, 4_000, 60_000, len(raw)))
            size = max(size, len(raw) // 20)
            writer.write(raw[at : at + size])
            await writer.drain()
            at += size
            if self.chance.random() < 0.1:
                await asyncio.sleep(self.chance.random() / 50)
            if self.chance.random() < 0.005:
                writer.transport.abort()  # in the middle of it
                return
        if half:
            writer.write_eof()

    async def _read(self, reader, method: bytes, wanted: bytes) -> bool:
        """Whether the connection goes on. An answer is whole and theirs, or a refusal, or seen to be cut."""
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            lowered = head.lower()
            ends = b"connection: close" in lowered
            if method == b"HEAD":
                body = b""
            elif b"transfer-encoding: chunked" in lowered:
                body = await _read_chunks(reader)
            else:
                body = await reader.readexactly(int(lowered.split(b"content-length: ")[1].split(b"\r\n")[0]))
        self.seen[status] += 1
        if status == 200:
            assert body == (b"" if method == b"HEAD" else wanted), (method, len(body), len(wanted), body[:80])
        else:
            assert status in {502, 503, 504}, head + body
            assert method == b"HEAD" or b'"code":' in body, body
        return not ends


async def _read_chunks(reader) -> bytes:
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


def _chance(seed: float) -> Random:
    return Random(seed)  # noqa: S311 - a run that failed is to be repeated


def _is_at_work(upstream):
    busy = len(upstream._connections) - len(upstream._idle)
    return busy or upstream._opening or upstream._waiting or upstream.deadlines._running


async def test_whatever_callers_and_services_do_everybody_gets_their_own_or_sees_that_it_failed():
    seed = int(os.environ.get("MC_TRAFFIC_SEED") or secrets.randbelow(2**32))
    print(f"MC_TRAFFIC_SEED={seed}")  # noqa: T201 - shown where it fails
    chance = _chance(seed)
    service = Service(_chance(chance.random()))
    scripted = ScriptedService(service.behave)
    proxy_policy = ProxyPolicy(limits=Limits(body=1_000_000), timeout=1.0, stream_idle=3)
    async with front_door(scripted, proxy_policy=proxy_policy, max_connections=12) as door:
        until = time.monotonic() + SECONDS
        callers = [Caller(_chance(chance.random()), door.port) for _ in range(CALLERS)]
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller.run(until))
        statuses = sum((caller.seen for caller in callers), Counter())
        at_rest = asyncio.get_running_loop().time() + 10
        while _is_at_work(door.upstream):
            assert asyncio.get_running_loop().time() < at_rest, vars(door.upstream)
            await asyncio.sleep(0.05)
        assert len(door.upstream._idle) <= 12
        assert all(connection.open and not connection._paused for connection in door.upstream._idle)
        scripted.behave = answer_ok
        for _ in range(20):
            assert (await door.get("/v1/courses")).json() == {"ok": True}
    assert not service.wrong_uploads
    once = set[bytes]().union(*(caller.sent for caller in callers))
    assert not {tag: count for tag, count in service.done.items() if tag in once and count > 1}
    assert statuses[200] > 300, statuses  # else little was tried
    assert {502, 504} <= set(statuses), statuses
    assert len(service.ways) == 12, service.ways
