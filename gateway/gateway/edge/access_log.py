"""The access log: a log line and a measurement for each request, in batches, since a write for each would cost most."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple, TextIO

import orjson

from shared.telemetry import request_seconds, requests_total

_EVERY: Final = 0.2  # seconds
_SERVICE: Final = "gateway"


class AccessLogEntry(NamedTuple):
    """A logged request: `at` is the POSIX time of arrival; `path` is only logged, `route` labels the metrics too."""

    at: float
    method: str
    path: bytes
    route: str
    status: int
    seconds: float
    request_id: str
    traceparent: str
    caller: str


def write_to_log(lines: str) -> None:
    """Write finished lines to the streams that the process's root logger writes to."""
    for handler in logging.root.handlers:
        stream: TextIO | None = getattr(handler, "stream", None)
        if stream is not None:
            handler.acquire()
            try:
                stream.write(lines)
                handler.flush()
            finally:
                handler.release()


class AccessLog:
    """The access log of one process; `write` takes whole lines of JSON, as the process's logger would write them.

    Of a path under a secret prefix only the route is written: the rest of it grants access to something.
    """

    def __init__(
        self, write: Callable[[str], object], *, release: str, secret_prefixes: tuple[bytes, ...] = ()
    ) -> None:
        self._write = write
        self._secret_prefixes = secret_prefixes
        self._release = release
        self._entries: list[AccessLogEntry] = []
        self._flushing: asyncio.TimerHandle | None = None

    def record(self, entry: AccessLogEntry) -> None:
        self._entries.append(entry)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_EVERY, self.flush)

    def flush(self) -> None:
        """Write the lines of the requests recorded since the last time, and count them in the metrics."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        entries, self._entries = self._entries, []
        groups: dict[tuple[str, str, int], list[float]] = {}
        for entry in entries:
            groups.setdefault((entry.method, entry.route, entry.status), []).append(entry.seconds)
        for (method, route, status), all_seconds in groups.items():
            requests_total.labels(_SERVICE, method, route, str(status)).inc(len(all_seconds))
            observe = request_seconds.labels(_SERVICE, method, route).observe
            for seconds in all_seconds:
                observe(seconds)
        if entries:
            self._write("".join(map(self._line, entries)))

    def _line(self, entry: AccessLogEntry) -> str:
        line = {
            "at": datetime.fromtimestamp(entry.at, UTC),
            "level": "INFO",
            "logger": "gateway.requests",
            "message": "request",
            "request_id": entry.request_id,
            "traceparent": entry.traceparent,
            "service": _SERVICE,
            "release": self._release,
            "method": entry.method,
            "path": entry.route
            if entry.path.startswith(self._secret_prefixes)
            else entry.path.decode("ascii", "replace"),
            "route": entry.route,
            "status": entry.status,
            "milliseconds": round(entry.seconds * 1000, 1),
            "caller": entry.caller,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode()
