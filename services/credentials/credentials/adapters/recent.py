"""Answers that are asked for again and again, kept for a few seconds."""

import time
from collections import OrderedDict


class Recent:
    """Pages by their path. `seconds` is how old an answer may be: a revocation is seen that much later."""

    def __init__(self, seconds: int, most: int = 2048) -> None:
        self.seconds = seconds
        self._most = most
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def get(self, path: str) -> bytes | None:
        until, page = self._kept.get(path, (0.0, b""))
        return page if until > time.monotonic() else None

    def keep(self, path: str, page: bytes) -> bytes:
        self._kept[path] = (time.monotonic() + self.seconds, page)
        self._kept.move_to_end(path)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return page
