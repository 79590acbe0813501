"""The routing table: which service answers which prefix, the longest prefix first, everything else denied."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NotRequired, TypedDict
from urllib.parse import parse_qsl

from gateway.edge.errors import MethodNotAllowed, NoSuchOperation

OWN: Final = "gateway"
ANY: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")


class _Row(TypedDict):
    prefix: str
    service: str
    methods: NotRequired[list[str]]
    max_body: NotRequired[int]
    timeout_seconds: NotRequired[float]
    limit: NotRequired[str]
    parameter_limits: NotRequired[dict[str, str]]
    secret: NotRequired[bool]
    free: NotRequired[bool]


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the routing table.

    `max_body` (bytes) and `timeout` (seconds) are given where they differ from the proxy policy's.
    `limit` names a rate-limit policy; `parameter_limits` further ones, by the query parameter (a search) they are for.
    `secret`: the path after the prefix grants access to something, so it is written to no log.
    `free`: no rate limit counts these requests (the probes of an orchestrator, all from one address).
    """

    prefix: str
    service: str
    methods: tuple[str, ...]
    max_body: int | None = None
    timeout: float | None = None
    limit: str | None = None
    parameter_limits: tuple[tuple[str, str], ...] = ()
    secret: bool = False
    free: bool = False

    def limits_of(self, query: bytes) -> list[str]:
        """Return the rate-limit policies of the parameters in this query."""
        if not query or not self.parameter_limits:
            return []
        given = {name for name, _ in parse_qsl(query.decode("latin-1"))}
        return [policy for parameter, policy in self.parameter_limits if parameter in given]


class Routes:
    """The routing table, ready for lookups. A prefix matches whole segments; HEAD is routed as GET.

    :raises ValueError: a method of one prefix is routed twice
    """

    def __init__(self, table: Iterable[Route]) -> None:
        self.table = tuple(table)
        self._by_prefix: dict[bytes, dict[str, Route]] = {}
        for route in self.table:
            methods = self._by_prefix.setdefault(route.prefix.encode(), {})
            for method in (*route.methods, *(["HEAD"] if "GET" in route.methods else [])):
                if method in methods:
                    raise ValueError(f"{method} {route.prefix} is routed twice")
                methods[method] = route

    def policies(self) -> set[str]:
        """Return the names of all rate-limit policies in the table."""
        named = {route.limit for route in self.table if route.limit}
        return named | {policy for route in self.table for _, policy in route.parameter_limits}

    def services(self) -> set[str]:
        """Return the names of all services in the table but the gateway itself."""
        return {route.service for route in self.table} - {OWN}

    def secret_prefixes(self) -> tuple[bytes, ...]:
        return tuple({route.prefix.encode() + b"/" for route in self.table if route.secret})

    def find(self, method: str, path: bytes) -> Route:
        """Return the route of a path that the guard has checked.

        :raises NoSuchOperation: 404
        :raises MethodNotAllowed: 405, with Allow
        """
        prefix = path
        while prefix:
            methods = self._by_prefix.get(prefix)
            if methods is not None:
                route = methods.get(method)
                if route is None:
                    allow = ", ".join(sorted({*methods, "OPTIONS"}))
                    raise MethodNotAllowed(f"{method} is not offered here", headers={"allow": allow})
                return route
            prefix = prefix[: prefix.rfind(b"/")]
        raise NoSuchOperation("nothing is offered at this address")

    def methods(self, path: bytes) -> list[str]:
        """Return the methods offered at a path that the guard has checked, for OPTIONS.

        :raises NoSuchOperation: 404
        """
        prefix = path
        while prefix:
            found = self._by_prefix.get(prefix)
            if found is not None:
                return sorted(found)
            prefix = prefix[: prefix.rfind(b"/")]
        raise NoSuchOperation("nothing is offered at this address")


def load(path: Path | None = None) -> Routes:
    """Read the routing table from a file, or the one shipped in this package."""
    source = path or Path(__file__).with_name("routes.json")
    rows: Mapping[str, list[_Row]] = json.loads(source.read_text())
    return Routes(
        Route(
            prefix=row["prefix"],
            service=row["service"],
            methods=tuple(row.get("methods", ANY)),
            max_body=row.get("max_body"),
            timeout=row.get("timeout_seconds"),
            limit=row.get("limit"),
            parameter_limits=tuple(row.get("parameter_limits", {}).items()),
            secret=row.get("secret", False),
            free=row.get("free", False),
        )
        for row in rows["routes"]
    )
