"""Regulations, rules as data: versions of a document, shipped with a package, each in force until the next one is."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from functools import cached_property
from importlib.resources import files
from typing import Any, Final, Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

from shared.errors import Invalid

_LONDON: Final = ZoneInfo("Europe/London")
_MIDNIGHT: Final = time()
_READ_SO_FROM: Final = datetime(2027, 1, 1, tzinfo=UTC)
"""Versions in force before this instant say midnight in UTC, and stay as they were pinned."""


def begins(said: str) -> datetime:
    """Return the instant at which a version comes into force, from its text: the beginning of a day in London, with
    London's offset.

    Raises ValueError: it is no instant, or none at which a day begins there.
    """
    at = datetime.fromisoformat(said)
    if at.tzinfo is None:
        raise ValueError(f"{said} has no time zone")
    try:
        there = at.astimezone(_LONDON)
    except OverflowError as error:
        raise ValueError(f"{said} is in no year") from error
    if at >= _READ_SO_FROM and (there.time(), there.utcoffset()) != (_MIDNIGHT, at.utcoffset()):
        raise ValueError(f"{said} is not the beginning of a day in London, as {there.date()}T00:00:00 with its offset")
    return at


class UnknownRegulations(Invalid):
    """No such version is known to this release, or none was in force yet."""

    remedy = "Name a version that is known here."


class Dated(Protocol):
    """A version of regulations: its name, and the instant from which it is in force."""

    @property
    def version(self) -> str: ...
    @property
    def effective_from(self) -> datetime: ...


V = TypeVar("V", bound=Dated)


class Versions(Generic[V]):
    """The versions under `regulations/` in a package. They are immutable: a change is a new version of a later date."""

    def __init__(self, package: str, parse: Callable[[Mapping[str, Any]], V]) -> None:  # Any: JSON
        self._package, self._parse = package, parse

    @cached_property
    def all(self) -> Mapping[str, V]:
        """Every version this release knows, by name, oldest first."""
        folder = files(self._package) / "regulations"
        documents = [json.loads(file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".json")]
        versions = sorted(map(self._parse, documents), key=lambda version: version.effective_from)
        return {one.version: one for one in versions}

    def find(self, version: str) -> V:
        """Return the version of that name; a pinned one stays part of every later release.

        Raises UnknownRegulations: this release has none of that name.
        """
        try:
            return self.all[version]
        except KeyError:
            raise UnknownRegulations(f"there are no regulations {version!r}") from None

    def in_force(self, at: datetime) -> V:
        """Return the version in force at that instant.

        Raises UnknownRegulations: the first one was not in force yet.
        """
        begun = [one for one in self.all.values() if one.effective_from <= at]
        if not begun:
            raise UnknownRegulations(f"no regulations were in force at {at.isoformat()}")
        return begun[-1]
