"""A cache of pages that are asked for again and again, kept until what they show changes."""

import time
from collections import OrderedDict


class PageCache:
    """Pages by their path, each made from one revision of the records.

    A page is kept for `seconds` at most, for what changes with time alone.
    """

    def __init__(self, seconds: int, most: int = 2048) -> None:
        self._seconds = seconds
        self._most = most
        self._kept: OrderedDict[str, tuple[float, str, bytes]] = OrderedDict()

    def holds(self, path: str) -> bool:
        """Return whether a page is kept, so that it is worth while to read the revision."""
        return path in self._kept

    def get(self, path: str, revision: str | None) -> bytes | None:
        until, of, page = self._kept.get(path, (0.0, None, b""))
        return page if of == revision and until > time.monotonic() else None

    def keep(self, path: str, revision: str | None, page: bytes) -> bytes:
        """Keep a page and return it.

        `revision` was read before the page was made, so that what changed meanwhile is noticed the next time.
        """
        if revision is not None:
            self._kept[path] = (time.monotonic() + self._seconds, revision, page)
            self._kept.move_to_end(path)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return page
