"""Which TCP ports this installation uses: one variable moves them all together."""

import errno
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import randrange

VARIABLE = "MC_PORT"
DEFAULT = 8000
NAMES = (
    "gateway",
    "catalogue",
    "enrolment",
    "assessment",
    "credentials",
    "payments",
    "payment provider",
    "gateway internals",
)


class PortUnavailable(RuntimeError):
    """A port is taken or not allowed; the message names who wants it, the port and the variable to set."""


def assign(environment: Mapping[str, str], names: Iterable[str] = NAMES) -> dict[str, int]:
    """The port of each name: MC_PORT (8000 unless given) for the first, the next numbers for the others.

    Raises PortUnavailable when MC_PORT is no port number or leaves no room for the others.
    """
    wanted, given = tuple(names), environment.get(VARIABLE, "").strip() or str(DEFAULT)
    highest = 65536 - len(wanted)
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= highest):
        raise PortUnavailable(f"{VARIABLE} is {given!r} but must be a port number from 1 to {highest}")
    return {name: int(given) + offset for offset, name in enumerate(wanted)}


def check(ports: Mapping[str, int]) -> None:
    """Raise PortUnavailable, naming every port of these that cannot be listened on now."""
    refused = [f"{name} needs port {port}, {reason}" for name, port in ports.items() if (reason := _refusal(port))]
    if refused:
        raise PortUnavailable(
            "; ".join(refused) + f". Stop what uses it, or set {VARIABLE} to move all ports, "
            f"e.g. {VARIABLE}={suggest(len(ports))}"
        )


def suggest(count: int) -> int:
    """The first of `count` free neighbouring ports; outside the range from which the system takes the local
    ports of connections, so that none of them is taken while its server is down for a moment.
    """
    lowest = 20000
    try:
        ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except FileNotFoundError:
        ephemeral = 32768
    highest = max(ephemeral, lowest + 1000) - count
    for _ in range(200):
        first = randrange(lowest, highest)  # noqa: S311 - no secret
        if not any(_refusal(port) for port in range(first, first + count)):
            return first
    raise PortUnavailable(f"no {count} free neighbouring ports between {lowest} and {highest}")


def _refusal(port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still fading is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return "which only root may use"
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return "which is busy"
    return ""
