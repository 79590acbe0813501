"""Web origins of front ends: pages of which may call, and to which a payer may be sent back."""

import json
from collections.abc import Iterable
from typing import Final, cast
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ANY_PORT: Final = ":*"
LOOPBACK: Final = tuple(
    f"{scheme}://{host}{_ANY_PORT}" for scheme in _DEFAULT_PORTS for host in ("localhost", "127.0.0.1", "[::1]")
)
"""Origins of pages served on one's own machine, by any development server."""


class AllowedOrigins:
    """An allow-list of origins. `http://localhost:*` is every port of that host, and only for hosts of this machine.

    :raises ValueError: one is no origin, or is `*` or `null`, which would admit every page
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self.named: Final = frozenset(_named(origin) for origin in allowed)
        self._wide = frozenset(origin.removesuffix(_ANY_PORT) for origin in self.named if origin.endswith(_ANY_PORT))

    def __contains__(self, origin: object) -> bool:
        if not isinstance(origin, str):
            return False
        if origin in self.named:
            return not origin.endswith(_ANY_PORT)
        host, _, port = origin.rpartition(":")
        return (host if port.isascii() and port.isdigit() else origin) in self._wide


def listed_origins(given: str) -> list[str]:
    """Return the origins that an environment variable names: separated by commas or blanks, or as a JSON array.

    :raises ValueError: one is no origin
    """
    found: object = json.loads(given) if given.lstrip().startswith("[") else given.replace(",", " ").split()
    return sorted(AllowedOrigins(map(str, cast("list[object]", found))).named)


def origin_of(url: str) -> str | None:
    """Return the origin of a URL as browsers write it; None where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or "\\" in url:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}")


def _named(origin: str) -> str:
    if origin in LOOPBACK:
        return origin
    found = origin_of(origin)
    parts = urlsplit(origin)
    if found is None or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(f"web origins are named one by one, as https://learn.example; {origin!r} is none")
    return found
