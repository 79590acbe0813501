"""Whatever another party answers over HTTP, or withholds: one error, and a bound to what it costs."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import pytest

from shared.access import IssuerUnreachable
from shared.directory import DirectoryUnreachable, HttpDirectory, PersonEntry, UnreadableEntry
from shared.events.payments import RefundRequested
from shared.issuer_keys import IssuerKeys
from shared.messaging.epochs import START
from shared.messaging.feed import FeedAway, FeedPage, HttpFeed
from shared.messaging.reconciliation import Reconciler
from shared.peers import PeerAway, ask
from shared.process import Process

from .processes import service_of

OK = b"HTTP/1.1 200 OK\r\n"
READER = b'"reader":{"service":"payments","cursor":"%s","installation":null}'


def _answer(body, *headers):
    return OK + b"".join(line + b"\r\n" for line in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


ANSWERS = {
    "nothing": b"",
    "no HTTP": b"\x00\xff" * 40 + b"\r\n\r\n",
    "another page": _answer(b"<html>"),
    "another shape": _answer(b'{"bodies": 5, "cursor": {}}'),
    "a number": _answer(b"1" * 5000),
    "no UTF-8": _answer(b'{"bodies": ["\xff"]}'),
    "a lone surrogate": _answer(b'{"bodies": ["\\ud800"], "cursor": "0.0"}'),
    "very deep": _answer(b"[" * 100_000),
    "an odd cursor": _answer(b'{"bodies": [], "cursor": "garbage"}'),
    "an odd reader": _answer(b'{"bodies": [], "cursor": "0.0", %s}' % (READER % b"garbage")),
    "itself again": _answer(b'{"bodies": ["{}"], "cursor": "0.0"}'),
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: mailto:x\r\nContent-Length: 0\r\n\r\n",
    "nowhere": b"HTTP/1.1 302 Found\r\nLocation: http://xn--/\r\nContent-Length: 0\r\n\r\n",
    "no port": b"HTTP/1.1 302 Found\r\nLocation: http://a:99999999/\r\nContent-Length: 0\r\n\r\n",
    "compressed": _answer(gzip.compress(b" " * 10_000_000), b"Content-Encoding: gzip"),
    "a failure": b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    "too short": OK + b"Content-Length: 1000\r\n\r\n{}",
    "bad chunks": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "informal": b"HTTP/1.1 199 Hm\r\n\r\n" * 3 + b"HTTP/1.1 999 Oh\r\nContent-Length: 0\r\n\r\n",
    "odd headers": OK + b"Set-Cookie: \xff=\xff; expires=never\r\nContent-Type: \xff\r\nContent-Length: 0\r\n\r\n",
}


@asynccontextmanager
async def party(answer: bytes | Callable[[], AsyncIterator[bytes]]):
    """Answers every request with these bytes; its address."""

    async def serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            async for part in answer() if callable(answer) else _once(answer):
                writer.write(part)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, httpx.AsyncClient(trust_env=False) as client:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", client


async def _once(answer):
    yield answer


async def _endless():
    yield OK + b"\r\n"
    while True:
        yield b" " * 65536


async def _trickle():
    yield OK + b"\r\n"
    while True:
        await asyncio.sleep(0.05)
        yield b" "


async def test_what_is_without_end_ends_at_its_bound():
    async with party(_endless) as (url, client):
        with pytest.raises(PeerAway, match="more than 200000 bytes"):
            await ask(client, "GET", url, within=10, most_bytes=200_000)
    async with party(_trickle) as (url, client), asyncio.timeout(5):
        with pytest.raises(PeerAway, match="within"):
            await ask(client, "GET", url, within=0.5)


async def test_an_answer_is_whole_whatever_its_status():
    async with party(b"HTTP/1.1 418 Tea\r\nX-Kind: green\r\nContent-Length: 5\r\n\r\nhello") as (url, client):
        answer = await ask(client, "POST", url, within=10, json={"a": 1})
    assert (answer.status_code, answer.headers["x-kind"], answer.text) == (418, "green", "hello")
    assert answer.request.headers["accept-encoding"] == "identity"


async def test_no_cookie_of_an_answer_is_sent_with_the_next_request():
    asked: list[bytes] = []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        cookies = [b"Set-Cookie: c%d=%s; Path=/" % (n, b"x" * 3900) for n in range(5)]
        writer.write(_answer(b"{}", *cookies, b"Connection: close"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, httpx.AsyncClient(trust_env=False) as client:
        for _ in range(2):
            await ask(client, "GET", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", within=10)
    assert len(asked) == 2
    assert b"cookie" not in asked[1].lower()


def _entry(person, **changes):
    return {
        "learner_id": str(person),
        "name_version": 1,
        "contact_version": 1,
        "given_name": "Ada",
        "family_name": "Lovelace",
        "display_name": "Ada",
        "contact_email": "ada@x.example",
    } | changes


@pytest.mark.parametrize(
    "odd",
    [{"display_name": None}, {"name_version": "x"}, {"learner_id": str(UUID(int=3))}, {"contact_email": [1]}],
    ids=str,
)
async def test_an_odd_entry_is_no_outage_and_says_nothing_about_the_person(odd):
    asked = [UUID(int=1), UUID(int=2)]
    body = json.dumps([_entry(asked[0]), _entry(asked[1], **odd)]).encode()
    async with party(_answer(body)) as (url, client):
        with pytest.raises(UnreadableEntry) as raised:
            await HttpDirectory({PersonEntry.owner: url}, "of the tests", client).read(PersonEntry, asked)
    assert "Lovelace" not in str(raised.value)
    assert not isinstance(raised.value, DirectoryUnreachable)


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_odd_answer_is_an_error_of_the_peers(kind, tmp_path):
    async with party(ANSWERS[kind]) as (url, client):
        with pytest.raises(FeedAway):
            await HttpFeed(url, "of the tests", client, "enrolment").read([RefundRequested.type], START)
        with pytest.raises(DirectoryUnreachable):
            await HttpDirectory({PersonEntry.owner: url}, "of the tests", client).read(PersonEntry, [])
        process = Process(
            service_of("enrolment", "postgresql+asyncpg://nobody/", mail_folder=str(tmp_path), jwks_url=url)
        )
        with pytest.raises(IssuerUnreachable):
            await IssuerKeys(IssuerUnreachable, max_age_seconds=60).find("any", process._fetch_keys)
        await process.http.aclose()


class Reads:
    def __init__(self):
        self.count = 0

    async def read(self, types, after):
        self.count += 1
        return FeedPage(bodies=[], cursor=after)


class Odd(Reads):
    async def read(self, types, after):
        await super().read(types, after)
        raise ZeroDivisionError


async def test_a_feed_that_cannot_be_read_keeps_no_other_from_being_read(enrolment):
    """And whatever the error was, it is tried again: the loop goes on."""
    odd, sound = Odd(), Reads()
    reconciling = Reconciler(enrolment.receiver, enrolment.database, {"credentials": odd, "payments": sound})
    running = asyncio.create_task(reconciling.run(every_seconds=0.05))
    async with asyncio.timeout(10):
        while odd.count < 3 or sound.count < 3:
            await asyncio.sleep(0.05)
            assert not running.done()
    running.cancel()
    await asyncio.wait([running])
