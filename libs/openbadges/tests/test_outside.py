"""Fetching for strangers: nowhere inside, nothing without end. Load goes to this machine alone."""

import asyncio
import gzip
import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from openbadges.verification.limits import Limits
from openbadges.verification.outside import Outside, Unreachable
from openbadges.verification.public_network import is_public

INSIDE = [
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2001::1",
    "2002:7f00:1::1",
    "2001:db8::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_not_for_everyone(address) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_that_are(address) -> None:
    assert is_public(ipaddress.ip_address(address))


async def refusal(url: str, *, loopback: bool = False, limits: Limits | None = None) -> str:
    with pytest.raises(Unreachable) as caught:
        await Outside(limits or Limits(), loopback=loopback).get(url, 1000)
    return caught.value.code


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://localhost/", "address_refused"),
        ("https://127.0.0.1/", "address_refused"),
        ("https://[::1]/", "address_refused"),
        ("https://[::ffff:127.0.0.1]/", "address_refused"),
        ("https://169.254.169.254/latest/meta-data", "address_refused"),
        ("https://2130706433/", "address_refused"),
        ("https://0x7f.1/", "address_refused"),
        ("https://127.1/", "address_refused"),
        ("https://10.0.0.1:5432/", "address_refused"),
        ("https://user:secret@example.org/", "address_refused"),
        ("https:///path", "address_refused"),
        ("https://example.org:0/", "address_refused"),
        ("https://example.org:99999/", "address_refused"),
        ("https://exämple.org/", "address_refused"),
        ("https://example.org/\r\nHost: inside", "address_refused"),
        ("https://example.org/" + "x" * 3000, "address_refused"),
        ("https://example.org\\@10.0.0.1/", "address_refused"),
        ("https://" + "x" * 64 + ".example/", "unreachable"),
        ("https://example..org/", "unreachable"),
        ("http://169.254.169.254/", "not_https"),
        ("http://example.org/", "not_https"),
        ("file:///etc/passwd", "not_https"),
        ("ftp://example.org/", "not_https"),
        ("//example.org/", "not_https"),
        ("", "not_https"),
    ],
)
async def test_addresses_that_are_never_asked(url, code) -> None:
    assert await refusal(url) == code


@asynccontextmanager
async def server(*answers: bytes, pause: float = 0) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Gives each connection the next answer; remembers what was asked."""
    asked: list[bytes] = []
    waiting = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        head, _, body = (waiting.pop(0) if len(waiting) > 1 else waiting[0]).partition(b"\n\n")
        writer.write(head.replace(b"\n", b"\r\n") + b"\r\n\r\n")
        for start in range(0, len(body), 65536):
            writer.write(body[start : start + 65536])
            await asyncio.sleep(pause)
            try:
                await writer.drain()
            except ConnectionError:
                break
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}", asked


async def test_an_answer_is_read_and_kept_for_a_while() -> None:
    async with server(b"HTTP/1.1 200 OK\n\nhello") as (url, asked):
        outside = Outside(Limits(), loopback=True)
        assert [await outside.get(f"{url}/did.json", 1000) for _ in range(3)] == [b"hello"] * 3
        assert len(asked) == 1
        assert b"accept-encoding: identity" in asked[0].lower()
        short = Outside(Limits(kept_seconds=0), loopback=True)
        await short.get(url, 1000)
        await short.get(url, 1000)
        assert len(asked) == 3


async def test_what_is_kept_has_its_bounds() -> None:
    async with server(b"HTTP/1.1 200 OK\n\n" + b"x" * 100) as (url, asked):
        outside = Outside(Limits(kept_answers=5, kept_bytes=350), loopback=True)
        for number in range(20):
            await outside.get(f"{url}/{number}", 1000)
        assert len(outside._kept) == 3
        assert outside._kept_bytes == 300
        await outside.get(f"{url}/19", 1000)
        assert len(asked) == 20


REDIRECT = "HTTP/1.1 302 Found\nLocation: {}\n\n"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("http://10.0.0.1/", "address_refused"),
        ("http://169.254.169.254/latest", "address_refused"),
        ("http://[fd00::1]/", "address_refused"),
        ("file:///etc/passwd", "not_https"),
        ("gopher://127.0.0.1/", "not_https"),
        ("/again", "too_many_redirects"),
    ],
)
async def test_a_redirect_is_looked_at_like_any_address(target, code) -> None:
    async with server(REDIRECT.format(target).encode()) as (url, _):
        assert await refusal(url, loopback=True) == code


async def test_a_redirect_to_a_proper_place_is_followed() -> None:
    async with server(REDIRECT.format("/there").encode(), b"HTTP/1.1 200 OK\n\nhello") as (url, asked):
        assert await Outside(Limits(), loopback=True).get(url, 1000) == b"hello"
        assert asked[1].startswith(b"GET /there ")


async def test_a_name_is_resolved_once_and_just_that_address_is_asked(monkeypatch) -> None:
    """A name that leads outside when it is looked at and inside when it is used."""
    loop = asyncio.get_running_loop()
    answers = ["127.0.0.1", "10.0.0.1"]
    resolved: list[str] = []

    async def getaddrinfo(host, port, **_):
        resolved.append(host)
        return [(2, 1, 6, "", (answers[min(len(resolved) - 1, 1)], port))]

    async with server(b"HTTP/1.1 200 OK\n\nhello") as (url, asked):
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        port = url.rpartition(":")[2]
        assert await Outside(Limits(), loopback=True).get(f"http://badges.example.org:{port}/", 1000) == b"hello"
        assert resolved == ["badges.example.org"]
        assert f"host: badges.example.org:{port}".encode() in asked[0].lower()


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["fe80::1%eth0"], []]
)
async def test_a_name_that_leads_inside_is_refused(monkeypatch, addresses) -> None:
    async def getaddrinfo(host, port, **_):
        return [(2, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await refusal("https://innocent.example.org/") == "address_refused"


PACKED = gzip.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 404 Not Found\n\n", "unreachable"),
        (b"HTTP/1.1 500 Oops\n\n", "unreachable"),
        (b"nonsense\n\n", "unreachable"),
        (b"HTTP/1.1 200 OK\n\n" + b"x" * 1001, "answer_too_large"),
        (b"HTTP/1.1 200 OK\nContent-Length: 99999999999\n\n" + b"x" * 100_000, "answer_too_large"),
        (b"HTTP/1.1 200 OK\nContent-Encoding: gzip\n\n" + PACKED, "answer_refused"),
    ],
    ids=["missing", "failing", "nonsense", "large", "endless", "packed"],
)
async def test_answers_that_are_not_taken(answer, code) -> None:
    async with server(answer) as (url, _):
        assert await refusal(url, loopback=True) == code


async def test_a_slow_answer_is_not_waited_for() -> None:
    began = time.monotonic()
    async with server(b"HTTP/1.1 200 OK\n\n" + b"x" * 65536 * 100, pause=0.2) as (url, _):
        with pytest.raises(Unreachable) as caught:
            await Outside(Limits(fetch_seconds=0.5), loopback=True).get(url, 100_000_000)
    assert caught.value.code == "timed_out"
    assert time.monotonic() - began < 3


async def test_nobody_at_home() -> None:
    async with server(b"") as (url, _):
        pass
    assert await refusal(url, loopback=True) == "unreachable"
