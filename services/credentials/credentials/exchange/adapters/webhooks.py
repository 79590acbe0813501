"""Send webhooks to partners, signed as Standard Webhooks says, and to public addresses only."""

import asyncio
import re
import ssl
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import httpcore
from standardwebhooks import Webhook

from credentials.exchange.domain.webhooks import RESPONSE_CHARACTERS, Answer, WebhookAddressRefused
from openbadges.verification.public_network import NotPublic, PublicNetwork, Resolve, is_readable, resolve

_SECONDS: Final = 5.0
_NAME_SECONDS: Final = 2.0
_PORTS: Final = {443, 8443}
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


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
        self._loopback, self._network = loopback, PublicNetwork(loopback=loopback, resolve=resolve)
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
        if not is_readable(url):
            raise WebhookAddressRefused("this is no proper address")
        if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
            raise WebhookAddressRefused("name a host and a path, without credentials or a fragment")
        if parts.scheme != "https" and not (self._loopback and parts.scheme == "http"):
            raise WebhookAddressRefused("webhooks go to https addresses")
        if port not in _PORTS and not self._loopback:
            raise WebhookAddressRefused(f"webhooks go to port {' or '.join(map(str, sorted(_PORTS)))}")
        try:
            async with asyncio.timeout(_NAME_SECONDS):
                await self._network.address_of(parts.hostname, port)
        except NotPublic as error:
            raise WebhookAddressRefused(str(error)) from error
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
        except NotPublic as error:
            return answer(None, "", str(error))
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
            network_backend=self._network,
        )
        sent = [(name.encode("ascii"), value.encode("ascii")) for name, value in fields.items()]
        async with pool, pool.stream("POST", url, headers=sent, content=content) as got:
            kept = bytearray()
            async for chunk in got.aiter_stream():
                kept += chunk
                if len(kept) >= 4 * RESPONSE_CHARACTERS:  # a character has four bytes at most
                    break
            return got.status, _CONTROL.sub("", kept.decode("utf-8", "replace"))[:RESPONSE_CHARACTERS]
