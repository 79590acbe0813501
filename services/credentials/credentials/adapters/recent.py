"""Answers that are asked for again and again, kept for a few seconds."""

import time
from collections import OrderedDict
from uuid import UUID


class Recent:
    """Pages by what they are about. `seconds` is how old an answer may be: a revocation is seen that much later."""

    def __init__(self, seconds: int, most: int = 2048) -> None:
        self.seconds = seconds
        self._most = most
        self._kept: OrderedDict[UUID, tuple[float, bytes]] = OrderedDict()

    def get(self, about: UUID) -> bytes | None:
        until, page = self._kept.get(about, (0.0, b""))
        return page if until > time.monotonic() else None

    def keep(self, about: UUID, page: bytes) -> bytes:
        self._kept[about] = (time.monotonic() + self.seconds, page)
        self._kept.move_to_end(about)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return page
