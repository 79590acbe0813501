"""Rules as data: versions of a document, shipped with a package, each in force from its date until the next."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from typing import Any, Generic, Protocol, TypeVar

from shared.errors import Invalid


class UnknownRegulations(Invalid):
    """No such version is known to this release, or none was in force yet."""

    remedy = "Name a version that is known here."


class Dated(Protocol):
    @property
    def version(self) -> str: ...
    @property
    def effective_from(self) -> datetime: ...


V = TypeVar("V", bound=Dated)


class Versions(Generic[V]):
    """The versions under `regulations/` in a package; immutable: a change is a new version with a later date."""

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
        """The version of that name; a pinned one stays part of every later release. Raises UnknownRegulations."""
        try:
            return self.all[version]
        except KeyError:
            raise UnknownRegulations(f"there are no regulations {version!r}") from None

    def in_force(self, at: datetime) -> V:
        """The latest version whose date has come. Raises UnknownRegulations before the first one."""
        begun = [one for one in self.all.values() if one.effective_from <= at]
        if not begun:
            raise UnknownRegulations(f"no regulations were in force at {at.isoformat()}")
        return begun[-1]
