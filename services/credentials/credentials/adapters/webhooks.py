"""Send webhooks to partners, signed as Standard Webhooks says, and to public addresses only."""

import asyncio
import ipaddress
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpcore
from standardwebhooks import Webhook

from credentials.domain.webhooks import RESPONSE_CHARACTERS, Answer, WebhookAddressRefused
from openbadges.verification.outside import Address, is_public

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

_SECONDS: Final = 5.0
_NAME_SECONDS: Final = 2.0
_PORTS: Final = {443, 8443}
_LONGEST_URL: Final = 2048
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Return every address of a name. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, proto=6)  # TCP
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def signatures(secrets: Iterable[bytes], delivery_id: str, at: datetime, body: str) -> str:
    """Return one signature for each live secret, so that a partner changes secrets without losing a message."""
    return " ".join(Webhook(secret).sign(delivery_id, at, body) for secret in secrets)


class WebhookClient:
    """Posts to addresses that partners name, and to none of ours.

    A name is resolved once for each try, every address it has must be public, and the connection goes to one of those
    checked: a name that changes in between gains nothing. Redirects are not followed. `loopback` is for tests and for
    platforms on one machine: it admits this machine, any port, and plain http to it.
    """

    def __init__(
        self, *, loopback: bool = False, tls: ssl.SSLContext | None = None, resolve: Resolve = resolve
    ) -> None:
        self._loopback, self._resolve = loopback, resolve
        self._tls = tls or ssl.create_default_context()

    async def check(self, url: str) -> None:
        """Check that we would post to an address. Raises WebhookAddressRefused."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise WebhookAddressRefused("this is no proper address") from None
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise WebhookAddressRefused("this address has no proper port") from None
        if len(url) > _LONGEST_URL or not url.isascii() or any(char <= " " for char in url) or "\\" in url:
            raise WebhookAddressRefused("this is no proper address")
        if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
            raise WebhookAddressRefused("name a host and a path, without credentials or a fragment")
        if parts.scheme != "https" and not (self._loopback and parts.scheme == "http"):
            raise WebhookAddressRefused("webhooks go to https addresses")
        if port not in _PORTS and not self._loopback:
            raise WebhookAddressRefused(f"webhooks go to port {' or '.join(map(str, sorted(_PORTS)))}")
        try:
            async with asyncio.timeout(_NAME_SECONDS):
                self.admit(parts.hostname, await self._resolve(parts.hostname, port))
        except (OSError, UnicodeError, TimeoutError) as error:
            raise WebhookAddressRefused(f"{parts.hostname[:100]} is not known to the name service") from error

    async def post(self, url: str, headers: dict[str, str], body: str) -> Answer:
        """Post once, within five seconds, and return the outcome."""
        began = time.monotonic()

        def answer(status: int | None, response: str, error: str | None) -> Answer:
            return Answer(status, response, error, int((time.monotonic() - began) * 1000))

        try:
            async with asyncio.timeout(_SECONDS):
                await self.check(url)  # the settings may have become stricter since it was registered
                status, response = await self._exchange(url, headers, body)
        except TimeoutError:
            return answer(None, "", f"no answer within {_SECONDS:g} seconds")
        except WebhookAddressRefused as domain_error:
            return answer(None, "", domain_error.detail)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return answer(None, "", f"not reached: {type(error).__name__}")
        return answer(status, response, None if 200 <= status < 300 else f"answered {status}")  # noqa: PLR2004 - success

    async def _exchange(self, url: str, headers: dict[str, str], body: str) -> tuple[int, str]:
        content = body.encode()
        fields = {
            "Host": urlsplit(url).netloc,
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Accept-Encoding": "identity",
            "User-Agent": "microcredentials-webhooks",
            **headers,
        }
        pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_Checked(self, self._resolve),
        )
        sent = [(name.encode("ascii"), value.encode("ascii")) for name, value in fields.items()]
        async with pool, pool.stream("POST", url, headers=sent, content=content) as got:
            kept = bytearray()
            async for chunk in got.aiter_stream():
                kept += chunk
                if len(kept) >= 4 * RESPONSE_CHARACTERS:  # a character has four bytes at most
                    break
            return got.status, _CONTROL.sub("", kept.decode("utf-8", "replace"))[:RESPONSE_CHARACTERS]

    def admit(self, host: str, addresses: Sequence[Address]) -> Address:
        """Return the address to connect to. Raises WebhookAddressRefused unless all of them are allowed."""
        may = [is_public(one) or (self._loopback and one.is_loopback) for one in addresses]
        if not may or not all(may):
            raise WebhookAddressRefused(f"{host[:100]} is not a public address")
        return addresses[0]


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to the very address that was checked. TLS still verifies the name."""

    def __init__(self, webhook_client: WebhookClient, resolve: Resolve) -> None:
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._webhook_client, self._resolve = webhook_client, resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = self._webhook_client.admit(host, await self._resolve(host, port))
        return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:  # Any: never called
        raise WebhookAddressRefused("only public addresses are asked")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
