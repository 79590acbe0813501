"""Reading a list of the provider's to its end: it may ignore the page we ask for, give fewer items a page than we ask,
or go on for ever."""

from collections.abc import Collection
from typing import Final

PAGES_AT_MOST: Final = 2000


class ListIncomplete(Exception):
    """The provider's list did not come to its end: what it left out is unknown."""


class Walk:
    """One reading of a list, page by page. Its end is a page with nothing on it."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.broken_off = False

    def goes_on(self, page: int, entries: Collection[str]) -> bool:
        """Return whether to ask for another page. `entries`: the references of the items on this page.

        Raises ListIncomplete where the page repeats only what other pages had, or is the last that is asked for.
        """
        if not entries:
            return False
        fresh = set(entries) - self._seen
        self.broken_off = not fresh or page >= PAGES_AT_MOST
        if not fresh:
            raise ListIncomplete(f"page {page} of the provider's list holds nothing that earlier pages did not")
        if self.broken_off:
            raise ListIncomplete(f"the provider's list has more than {PAGES_AT_MOST} pages")
        self._seen |= fresh
        return True
