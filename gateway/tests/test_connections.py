"""Connections on both sides of the front door: what is kept, waited for, half-closed, or asked on one after the other."""

import asyncio
import contextlib
import hashlib
import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from uvicorn.loops.auto import auto_loop_factory

from gateway.edge.connection import Connection
from gateway.edge.errors import ServiceBusy
from gateway.edge.guard import Limits
from gateway.edge.proxy import ProxyPolicy
from gateway.edge.upstream import Upstream

from .proxy_harness import OK, ScriptedService, front_door

PATIENT = ProxyPolicy(limits=Limits(body=1_000_000), timeout=10)


class Wire(asyncio.Transport):
    """Stands for a socket whose reads the test chooses: on uvloop several come in one turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def write(self, data) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        pass


async def test_a_connection_whose_large_answer_came_whole_at_once_is_read_again():
    connection = Connection(asyncio.get_running_loop(), lambda _: None)
    wire = Wire()
    connection.connection_made(wire)
    asked = connection.ask(b"GET / HTTP/1.1\r\n\r\n", head_only=False)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"a" * 200_000)
    connection.data_received(b"a" * 100_000)
    await asked
    assert connection.body() == b"a" * 300_000
    assert connection.finished(request_sent=True)
    assert wire.reading


@contextlib.asynccontextmanager
async def service_process():
    """A service in a process of its own, so that its answers come as fast as they do in production."""
    program = Path(__file__).with_name("pouring.py")
    process = await asyncio.create_subprocess_exec(sys.executable, program, stdout=asyncio.subprocess.PIPE)
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("size", [200_000, 300_000, 500_000, 1_000_000])
async def test_downloads_of_any_size_leave_their_connections_fit_for_the_next(size):
    async with service_process() as port, front_door(proxy_policy=PATIENT) as door:
        door.upstream.port = port
        for _ in range(20):
            answer = await door.get(f"/v1/courses/{size}")
            assert len(answer.body) == size
        took = time.perf_counter()
        answers = await asyncio.gather(*(door.get(f"/v1/courses/{size if n % 2 else 3}") for n in range(40)))
        assert {len(answer.body) for answer in answers} == {3, size}
        assert time.perf_counter() - took < 8  # none waited for its deadline


async def test_an_upload_goes_on_while_its_answer_comes():
    payload = os.urandom(3_900_000)

    async def answer_while_reading(seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        digest, size = hashlib.sha256(), 0
        while length := int(await reader.readline(), 16):
            digest.update(await reader.readexactly(length))
            await reader.readexactly(2)
            size += length
            writer.write(b"4\r\nread\r\n")
            await asyncio.sleep(0.005)
        await reader.readline()
        echo = b"%d %b" % (size, digest.hexdigest().encode())
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(echo), echo))
        return True

    service = ScriptedService(answer_while_reading, read_body=False)
    async with front_door(service, proxy_policy=PATIENT) as door:
        head = b"PUT /v1/files/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        pieces = (payload[at : at + 64_000] for at in range(0, len(payload), 64_000))
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        answer = await door.send(head + body, seconds=20)
    assert b"3900000 " + hashlib.sha256(payload).hexdigest().encode() in answer


async def test_a_caller_who_leaves_while_an_upload_is_answered_ends_it():
    ended = asyncio.Event()

    async def answer_while_reading(seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nread\r\n")
        with contextlib.suppress(ConnectionError):
            while await reader.read(10_000):
                pass
        ended.set()
        return False

    async with front_door(ScriptedService(answer_while_reading, read_body=False), proxy_policy=PATIENT) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"PUT /v1/files/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"a" * 1000)
        assert (await reader.read(100)).startswith(b"HTTP/1.1 200")
        writer.transport.abort()
        async with asyncio.timeout(3):
            await ended.wait()


async def raw(door, *pieces: bytes, half_close: bool = False, pause: float = 0.05) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)
    if half_close:
        writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_head_passed_on_is_followed_by_nothing():
    taken = bytearray()

    async def record(reader, writer):
        while data := await reader.read(65536):
            taken.extend(data)
            writer.write(OK)
        writer.close()

    listening = await asyncio.start_server(record, "127.0.0.1", 0)
    async with front_door() as door:
        door.upstream.port = listening.sockets[0].getsockname()[1]
        for _ in range(2):
            assert (await door.get("/v1/courses")).status == 200
    listening.close()
    heads = bytes(taken).split(b"\r\n\r\n")
    assert len(heads) == 3
    assert all(head.startswith(b"GET /v1/courses HTTP/1.1\r\n") for head in heads[:2])
    assert heads[2] == b""


# Requests one after the other on one connection


@pytest.mark.parametrize("split", [10, 60, 117])
async def test_a_head_that_begins_with_the_end_of_a_body_is_counted_from_its_begin(split):
    """The read that holds both is of the body for the most part."""
    first = b"PUT /v1/files/a HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"a" * 60_000
    second = b"GET /v1/courses HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 60 + b"\r\nConnection: close\r\n\r\n"
    async with front_door(proxy_policy=PATIENT) as door:
        answer = await raw(door, first + second[:split], second[split:])
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2, answer
    assert [seen.line.split()[0] for seen in door.service.seen] == [b"PUT", b"GET"]


@pytest.mark.parametrize(
    "second",
    [
        b"GET /v1/courses?" + b"a" * 80_000,
        b"GET /v1/courses HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 80_000,
        b"GET /v1/courses HTTP/1.1\r\nno header\r\n\r\n",
        b"GET /v1/courses HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"\x00\x00\x00",
    ],
    ids=["long address", "long header", "malformed", "slow", "no HTTP"],
)
async def test_what_follows_a_request_takes_its_answer_from_nobody(second):
    async def slow(seen, reader, writer):
        await asyncio.sleep(0.8)
        writer.write(OK)
        return True

    async with front_door(ScriptedService(slow), proxy_policy=PATIENT) as door:
        answer = await raw(door, b"POST /v1/courses HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na" + second)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'\r\n\r\n{"ok":true}')  # and the connection ends
    assert len(door.service.seen) == 1


async def test_who_leaves_with_several_requests_open_ends_the_first_too():
    left = asyncio.Event()

    async def ticks(seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"data: tick\n\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        left.set()
        return False

    async with front_door(ScriptedService(ticks)) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET /v1/courses HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        assert await reader.read(1000)
        writer.transport.abort()
        async with asyncio.timeout(3):
            await left.wait()
    assert len(door.service.seen) == 1


async def test_a_caller_who_has_said_all_and_closed_that_side_is_answered():
    async def slow(seen, reader, writer):
        await asyncio.sleep(0.3)
        writer.write(OK)
        return True

    request = b"POST /v1/courses HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"
    async with front_door(ScriptedService(slow)) as door:
        once = await raw(door, request, half_close=True)
        twice = await raw(door, request * 2, half_close=True)
        cut = await raw(door, request[:-1], half_close=True)
        none = await raw(door, half_close=True)
    assert (once.count(b'{"ok":true}'), twice.count(b'{"ok":true}')) == (1, 2)
    assert (cut, none) == (b"", b"")
    assert len(door.service.seen) == 3  # what was cut short reached nobody whole


# HTTP/1.0


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content"])
async def test_a_caller_of_http_1_0_gets_no_chunks(status):
    async def stream(seen, reader, writer):
        if status.startswith(b"204"):
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await asyncio.sleep(0.1)
            writer.write(b"3\r\ndef\r\n0\r\n\r\n")
        return True

    async with front_door(ScriptedService(stream)) as door:
        answer = await raw(door, b"GET /v1/courses HTTP/1.0\r\nHost: a\r\n\r\n")
        sized = await raw(door, b"GET /v1/accounts HTTP/1.0\r\nHost: a\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head
    assert body == (b"" if status.startswith(b"204") else b"abcdef")
    assert b"content-length: " in sized


async def test_a_body_without_length_that_is_cut_short_does_not_look_whole():
    async def cut(seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        return False

    async with front_door(ScriptedService(cut)) as door:
        with pytest.raises(ConnectionResetError):
            await raw(door, b"GET /v1/courses HTTP/1.0\r\nHost: a\r\n\r\n")


# Services


@pytest.mark.parametrize("status", [0, 42, 99, 600, 999])
async def test_a_status_that_is_none_is_a_bad_gateway(status):
    async def behave(seen, reader, writer):
        writer.write(b"HTTP/1.1 %03d Odd\r\ncontent-length: 0\r\n\r\n" % status)
        return True

    async with front_door(ScriptedService(behave)) as door:
        answer = await door.get("/v1/courses")
    assert (answer.status, answer.code) == (502, "service_failed")


# Waiting for a connection


async def test_who_came_first_gets_the_connection_first_and_nobody_waits_longer_than_said():
    upstream = Upstream("busy", "http://127.0.0.1:9", max_connections=1, connect_seconds=0.5)
    connection = Connection(asyncio.get_running_loop(), upstream._lost)
    connection.connection_made(Wire())
    upstream._connections.add(connection)
    served, late = [], []

    async def context(number):
        began = time.monotonic()
        try:
            one = await upstream.acquire()
        except ServiceBusy:
            late.append(time.monotonic() - began)
            return
        served.append(number)
        one.ask(b"", head_only=True)
        await asyncio.sleep(0.1)
        one.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")
        upstream.release(one, request_sent=True)

    upstream._idle.append(connection)
    connection.idle_since = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(context(number))
            await asyncio.sleep(0.01)
    assert served == sorted(served)
    assert len(served) >= 4
    assert len(late) == 20 - len(served)
    assert max(late) < 0.8
    assert not upstream._waiting
    assert upstream._opening == 0


async def test_a_request_whose_time_is_up_while_it_waits_is_never_sent():
    async def slow(seen, reader, writer):
        await asyncio.sleep(0.6)
        writer.write(OK)
        return True

    proxy_policy = ProxyPolicy(timeout=0.4)
    async with front_door(ScriptedService(slow), max_connections=1, proxy_policy=proxy_policy) as door:
        answers = await asyncio.gather(*(door.get("/v1/courses") for _ in range(4)))
        await asyncio.sleep(1)
    statuses = Counter(answer.status for answer in answers)
    assert statuses.keys() == {503, 504}, statuses
    assert len(door.service.seen) == statuses[504]  # to one whose time was not up yet the connection may have come


async def test_a_turn_that_comes_to_one_who_has_left_goes_to_the_next():
    upstream = Upstream("busy", "http://127.0.0.1:9", max_connections=1, connect_seconds=5)
    connection = Connection(asyncio.get_running_loop(), upstream._lost)
    connection.connection_made(Wire())
    upstream._connections.add(connection)
    first, second = (asyncio.create_task(upstream.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    upstream._hand_on(connection)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(1):
        assert await second is connection
    assert not upstream._waiting


async def test_these_tests_run_on_the_loop_that_is_shipped():
    shipped = auto_loop_factory()()
    shipped.close()
    assert type(asyncio.get_running_loop()) is type(shipped)
