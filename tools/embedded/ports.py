"""The TCP ports of an installation: one variable moves them all together."""

import errno
import socket
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import randrange

from embedded.workspace import BEHIND_THE_GATEWAY

VARIABLE = "MC_PORT"
DEFAULT = 8000
BACKLOG = 2048  # connections that may wait while the platform starts; the same as uvicorn's
NAMES = ("gateway", *BEHIND_THE_GATEWAY, "payment provider", "gateway internals")


class PortUnavailable(RuntimeError):
    """A port is taken or not allowed; the message names who wants it, the port and the variable to set."""


def assign(environment: Mapping[str, str], names: Iterable[str] = NAMES) -> dict[str, int]:
    """Return the port of each name: MC_PORT (8000 unless given) for the first, the next numbers for the others.

    Raises PortUnavailable when MC_PORT is no port number or leaves no room for the others.
    """
    wanted, given = tuple(names), environment.get(VARIABLE, "").strip() or str(DEFAULT)
    highest = 65536 - len(wanted)
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= highest):
        raise PortUnavailable(f"{VARIABLE} is {given!r} but must be a port number from 1 to {highest}")
    return {name: int(given) + offset for offset, name in enumerate(wanted)}


@contextmanager
def listening(ports: Mapping[str, int], public: Collection[str]) -> Generator[dict[int, list[socket.socket]]]:
    """Listen on these ports of 127.0.0.1 until the block ends, so that no other program takes one. Sockets by port.

    The `public` ones listen on [::1] as well, where browsers look first for `localhost`; where another program does
    so already, or there is no IPv6, they do without. Raises PortUnavailable as check() does.
    """
    opened: dict[int, list[socket.socket]] = {}
    try:
        refused: list[str] = []
        for name, port in ports.items():
            try:
                opened[port] = [_listen(socket.AF_INET, "127.0.0.1", port)]
            except OSError as error:
                refused.append(f"{name} needs port {port}, {_reason(error)}")
        if refused:
            raise _unavailable(refused, len(ports))
        for name in public:
            with suppress(OSError):
                opened[ports[name]].append(_listen(socket.AF_INET6, "::1", ports[name]))
        yield opened
    finally:
        for each in opened.values():
            for listener in each:
                listener.close()


def strangers_beside(listeners: Mapping[int, Sequence[socket.socket]], port: int) -> bool:
    """Whether another program holds [::1] of this port, so that `localhost` may lead to it."""
    if len(listeners[port]) > 1:
        return False
    try:
        with socket.create_connection(("::1", port), timeout=1):
            return True
    except OSError:
        return False


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port with connections in TIME_WAIT is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def check(ports: Mapping[str, int]) -> None:
    """Raise PortUnavailable, naming every port of these that cannot be listened on now."""
    refused = [f"{name} needs port {port}, {reason}" for name, port in ports.items() if (reason := _why_not(port))]
    if refused:
        raise _unavailable(refused, len(ports))


def _unavailable(refused: Iterable[str], count: int) -> PortUnavailable:
    return PortUnavailable(
        "; ".join(refused) + f". Stop what uses it, or set {VARIABLE} to move all ports, "
        f"e.g. {VARIABLE}={suggest(count)}"
    )


def suggest(count: int) -> int:
    """Return the first of `count` free neighbouring ports.

    They are outside the range from which the system takes the local ports of connections, so that none of them is taken
    while its server is down for a moment. Raises PortUnavailable where none are found.
    """
    lowest = 20000
    try:
        ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except FileNotFoundError:
        ephemeral = 32768
    highest = max(ephemeral, lowest + 1000) - count
    for _ in range(200):
        first = randrange(lowest, highest)  # noqa: S311 - no secret
        if not any(_why_not(port) for port in range(first, first + count)):
            return first
    raise PortUnavailable(f"no {count} free neighbouring ports between {lowest} and {highest}")


def _why_not(port: int) -> str:
    try:
        _listen(socket.AF_INET, "127.0.0.1", port).close()
    except OSError as error:
        return _reason(error)
    return ""


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "which only root may use"
    if error.errno != errno.EADDRINUSE:
        raise error
    return "which is busy"
