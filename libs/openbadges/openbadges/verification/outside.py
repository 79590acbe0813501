"""Fetch what a stranger's credential refers to, without being sent anywhere inside.

A credential names addresses, and whoever made it may name one of ours: only public ones are asked (`public_network`).
Only https, few redirects, each checked like the first; an answer is cut off at its size and its time. Whoever asks for
a key gets the answer of the origin that was asked, and of no other that it redirects to. Contexts and schemas are never
fetched at all.
"""

import asyncio
import ssl
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urljoin, urlsplit

import httpcore

from openbadges.verification.limits import Limits
from openbadges.verification.public_network import NotPublic, PublicNetwork, is_readable
from openbadges.verification.report import Broken

_REDIRECTS = {301, 302, 303, 307, 308}
_ACCEPT = b"application/did+ld+json, application/vc, application/jwk-set+json, application/json, */*;q=0.1"


class Unreachable(Broken):
    """What a credential refers to could not be fetched, and why."""


class Web(Protocol):
    """Fetches the documents that a credential names by address: its issuer's keys and status lists, newer versions."""

    async def get(self, url: str, most_bytes: int, *, own_word: bool = False) -> bytes:
        """Return the bytes at an address. Raises Unreachable.

        `own_word`: nothing in them is signed, so they count only from this very origin.
        """
        ...


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, as browsers compare them. Raises ValueError."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


@dataclass
class _Kept:
    body: bytes
    until: float


class Outside:
    """The only way out that strangers can steer."""

    def __init__(
        self,
        limits: Limits,
        *,
        loopback: bool = False,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "openbadges-verifier",
    ) -> None:
        """Set up the client, which names itself to others by `user_agent`. `loopback`, for tests and platforms on one
        machine: this machine may be asked too, by http."""
        self._limits = limits
        self._loopback = loopback
        self._user_agent = user_agent.encode("ascii")
        self._tls = tls or ssl.create_default_context()
        self._kept: OrderedDict[tuple[str, bool], _Kept] = OrderedDict()
        self._kept_bytes = 0

    async def get(self, url: str, most_bytes: int, *, own_word: bool = False) -> bytes:
        """Return the bytes at an address. Raises Unreachable."""
        kept = self._kept.get((url, own_word))
        if kept is not None and kept.until > time.monotonic() and len(kept.body) <= most_bytes:
            return kept.body
        try:
            async with asyncio.timeout(self._limits.fetch_seconds):
                body = await self._follow(url, most_bytes, own_word=own_word)
        except TimeoutError as error:
            raise Unreachable("timed_out", f"{_host(url)} did not answer in time.") from error
        except NotPublic as error:
            raise Unreachable("address_refused", f"{error}, and is not asked.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise Unreachable("unreachable", f"{_host(url)} could not be reached.") from error
        self._keep((url, own_word), body)
        return body

    async def _follow(self, url: str, most_bytes: int, *, own_word: bool) -> bytes:
        asked = url
        for _ in range(self._limits.redirects + 1):
            self._check(url)
            if own_word and origin(url) != origin(asked):
                raise Unreachable("sent_elsewhere", f"{_host(asked)} sends to another host for its own word.")
            pool = httpcore.AsyncConnectionPool(
                ssl_context=self._tls,
                max_connections=1,
                max_keepalive_connections=0,
                network_backend=PublicNetwork(loopback=self._loopback),
            )
            async with pool, pool.stream("GET", url, headers=_headers(url, self._user_agent)) as answer:
                headers = {name.lower(): value for name, value in answer.headers}
                if answer.status in _REDIRECTS and b"location" in headers:
                    url = urljoin(url, headers[b"location"].decode("ascii", "replace"))
                    continue
                if answer.status != 200:  # noqa: PLR2004 - OK
                    raise Unreachable("unreachable", f"{_host(url)} answered {answer.status}.")
                return await _body(answer, headers, url, most_bytes)
        raise Unreachable("too_many_redirects", f"{_host(url)} sends from one address to the next.")

    def _check(self, url: str) -> None:
        """Raise Unreachable for an address that is never asked, before anything is resolved."""
        parts = urlsplit(url)
        schemes = {"https", "http"} if self._loopback else {"https"}
        if not is_readable(url):
            raise Unreachable("address_refused", "An address it refers to is not a proper one.")
        if parts.scheme not in schemes:
            raise Unreachable("not_https", "An address it refers to is not an https address.")
        try:
            wrong = not parts.hostname or parts.username is not None or parts.password is not None or parts.port == 0
        except ValueError:
            wrong = True
        if wrong:
            raise Unreachable("address_refused", "An address it refers to is not a proper one.")

    def _keep(self, asked: tuple[str, bool], body: bytes) -> None:
        replaced = self._kept.pop(asked, None)
        self._kept_bytes += len(body) - (len(replaced.body) if replaced else 0)
        self._kept[asked] = _Kept(body, time.monotonic() + self._limits.kept_seconds)
        while len(self._kept) > self._limits.kept_answers or self._kept_bytes > self._limits.kept_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.body)


def _headers(url: str, user_agent: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"host", urlsplit(url).netloc.encode("ascii")),
        (b"accept", _ACCEPT),
        (b"accept-encoding", b"identity"),  # no compression, so that nothing unpacks to more than was received
        (b"user-agent", user_agent),
    ]


async def _body(answer: httpcore.Response, headers: dict[bytes, bytes], url: str, most_bytes: int) -> bytes:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Unreachable("answer_refused", f"{_host(url)} sent a packed answer that was not asked for.")
    body = bytearray()
    async for chunk in answer.aiter_stream():
        body += chunk
        if len(body) > most_bytes:
            raise Unreachable("answer_too_large", f"{_host(url)} sent more than {most_bytes} bytes.")
    return bytes(body)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "It")[:100]
