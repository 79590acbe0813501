"""Connect to public addresses only, whoever named them: the one guard of all requests that strangers steer.

A name is resolved here, once for each connection; every address it has must be public; and the connection goes to the
very address that was checked, so that a name which resolves differently the second time gains nothing.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, cast

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

_LONGEST_URL: Final = 2048
# Addresses that contain an IPv4 address, to which they may lead.
_TUNNELS = [ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")]


class NotPublic(Exception):
    """A name has an address that is not public, or none; nothing was sent to it."""


def is_public(address: Address) -> bool:
    """Return whether an address is for everyone: not private, loopback, link-local, shared, reserved or tunnelled."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in net for net in _TUNNELS) or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def is_readable(url: str) -> bool:
    """Return whether every reader of a URL reads the same: short, ASCII, without spaces, controls and backslashes."""
    return len(url) <= _LONGEST_URL and url.isascii() and not any(char <= " " or char == "\\" for char in url)


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Return every address of a name. Raises OSError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, proto=6)  # TCP
    except UnicodeError as error:  # no name at all: a part of it is empty or too long
        raise OSError(f"{host[:100]} is no name") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to a name's public addresses. TLS still verifies the name.

    `loopback`, for tests and platforms on one machine, admits this machine, too. Connecting raises NotPublic and
    whatever `resolve` raises.
    """

    def __init__(self, *, loopback: bool = False, resolve: Resolve = resolve) -> None:
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._loopback, self._resolve = loopback, resolve

    async def address_of(self, host: str, port: int) -> Address:
        """Return the address to connect to. Raises NotPublic unless all that the name has are admitted."""
        addresses = await self._resolve(host, port)
        if not addresses or not all(is_public(one) or (self._loopback and one.is_loopback) for one in addresses):
            raise NotPublic(f"{host[:100]} is not a public address")
        return addresses[0]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await self.address_of(host, port)
        return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:  # Any: never called
        raise NotPublic("only public addresses are asked")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
