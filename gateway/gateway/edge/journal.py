"""One log line and one measurement for each request, written in batches: a line on its own costs more than the rest."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

import orjson

from shared.telemetry import request_seconds, requests_total

_EVERY: Final = 0.2  # seconds
_SERVICE: Final = "gateway"


class _Counting(Protocol):
    def inc(self, amount: float = 1) -> None: ...


class _Timing(Protocol):
    def observe(self, amount: float) -> None: ...


class Journal:
    """`write` takes whole lines of JSON, as the process's logger would write them."""

    def __init__(self, write: Callable[[str], object], *, release: str) -> None:
        self._write = write
        self._release = release
        self._lines: list[tuple[float, str, str, str, int, float, str, str, str]] = []
        self._meters: dict[tuple[str, str, int], tuple[_Counting, _Timing]] = {}
        self._flushing: asyncio.TimerHandle | None = None

    def record(
        self,
        *,
        at: float,
        method: str,
        path: str,
        route: str,
        status: int,
        seconds: float,
        request_id: str,
        traceparent: str,
        caller: str,
    ) -> None:
        """`at` is the POSIX time of arrival; `path` goes to the log only, `route` is what is counted by."""
        meter = self._meters.get((method, route, status))
        if meter is None:
            meter = self._meters[method, route, status] = (
                requests_total.labels(_SERVICE, method, route, str(status)),
                request_seconds.labels(_SERVICE, method, route),
            )
        meter[0].inc()
        meter[1].observe(seconds)
        self._lines.append((at, method, path, route, status, seconds, request_id, traceparent, caller))
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_EVERY, self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        self._flushing = None
        lines, self._lines = self._lines, []
        if lines:
            self._write("".join(map(self._line, lines)))

    def _line(self, entry: tuple[float, str, str, str, int, float, str, str, str]) -> str:
        at, method, path, route, status, seconds, request_id, traceparent, caller = entry
        line = {
            "at": datetime.fromtimestamp(at, UTC).isoformat(),
            "level": "INFO",
            "logger": "gateway.requests",
            "message": f"{method} {path} {status}",
            "request_id": request_id,
            "traceparent": traceparent,
            "service": _SERVICE,
            "release": self._release,
            "method": method,
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "caller": caller,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode()
