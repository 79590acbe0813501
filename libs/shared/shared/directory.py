"""The directory: what must not travel in events (names, addresses), read by key from the one service that owns it.

An event says that an entry changed, and its version; a service that needs the entry reads it here as it is now. It does
so outside a transaction, in a job: the owner may be away, and then nothing else waits.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Protocol, TypeVar, cast
from uuid import UUID

import httpx
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Unknown
from shared.errors import Unavailable
from shared.messaging.feed import admit_service
from shared.peers import PeerAway, ask, json_of

MOST_KEYS = 100
"""Keys in one request: a URL has a limited length."""
READ_SECONDS = 10.0
"""Limit for a whole answer."""


class DirectoryEntry(BaseModel, ABC):
    """The present state of one person, course or other thing that a directory lists. Fields it does not know are
    ignored, so that owners may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    directory: ClassVar[str]
    owner: ClassVar[str]
    """The service that serves it."""

    @property
    @abstractmethod
    def key(self) -> UUID: ...


class PersonEntry(DirectoryEntry):
    """Who a learner is, and how to write to them. Nobody who was anonymised has an entry."""

    directory: ClassVar[str] = "people"
    owner: ClassVar[str] = "enrolment"

    learner_id: UUID
    name_version: int
    contact_version: int
    family_name: str
    """Somebody with a single name has it here."""
    given_name: str | None = None
    display_name: str
    certificate_name: str | None = None
    """How the name is written on certificates, where it is not given name and family name in this order."""
    name_decided: bool = False
    """A registrar decided on evidence that this is the name. Documents that bear another one change to no other."""
    contact_email: str
    contact_confirmed: bool | None = None
    """Whether a code sent to that address came back. None: the owner's release does not say yet."""

    @property
    def key(self) -> UUID:
        return self.learner_id


E = TypeVar("E", bound=DirectoryEntry)
Reader = Callable[[AsyncSession, Sequence[UUID]], Awaitable[Iterable[DirectoryEntry]]]
"""Reads the entries of these keys, of those that have one."""


class DirectoryUnreachable(Unavailable):
    """The owner of a directory does not answer, or not in its terms."""

    code = "register_unreachable"


class UnreadableEntry(Exception):
    """An entry is none of its kind, or is of somebody who was not asked about. It says nothing of the others: whoever
    asks for them alone gets them."""


class Directory(Protocol):
    """The directories of all services, by the kind of their entries."""

    async def read(self, kind: type[E], keys: Collection[UUID]) -> list[E]:
        """Return the entries of these keys, at most MOST_KEYS, as they are now; keys without one are left out.

        Raises DirectoryUnreachable: the owner does not answer, or not with entries. Raises UnreadableEntry.
        """
        ...


class HttpDirectory:
    """The directories of all services, read over HTTP."""

    def __init__(self, urls: Mapping[str, str], secret: str, client: httpx.AsyncClient) -> None:
        self._urls, self._secret, self._client = urls, secret, client

    async def read(self, kind: type[E], keys: Collection[UUID]) -> list[E]:
        if kind.owner not in self._urls:
            raise DirectoryUnreachable(f"nobody said where {kind.owner} is")
        try:
            answer = await ask(
                self._client,
                "GET",
                f"{self._urls[kind.owner]}/internal/registers/{kind.directory}",
                params=[("key", str(key)) for key in keys],
                headers={"Authorization": f"Bearer {self._secret}"},
                within=READ_SECONDS,
            )
            entries = json_of(answer)
        except PeerAway as error:
            raise DirectoryUnreachable(f"the directory of {kind.directory} cannot be read: {error!r}") from error
        if not isinstance(entries, list):
            raise DirectoryUnreachable(f"the directory of {kind.directory} answers with no list")
        try:
            found = [kind.model_validate(entry) for entry in cast("list[object]", entries)]
        except ValidationError as error:
            wrong = [(problem["loc"], problem["type"]) for problem in error.errors(include_input=False)]
            # Without what the entry says: this text is kept and logged.
            raise UnreadableEntry(f"an entry of {kind.directory} cannot be read: {wrong}") from None
        if not {entry.key for entry in found} <= set(keys):
            raise UnreadableEntry(f"an entry of {kind.directory} is of somebody who was not asked about")
        return found


class LocalDirectory:
    """A directory in memory, which holds the entries it was given."""

    def __init__(self, *entries: DirectoryEntry) -> None:
        self.entries: dict[tuple[str, UUID], DirectoryEntry] = {}
        self.write(*entries)

    def write(self, *entries: DirectoryEntry) -> None:
        """Add entries, or replace those of the same keys."""
        self.entries |= {(entry.directory, entry.key): entry for entry in entries}

    async def read(self, kind: type[E], keys: Collection[UUID]) -> list[E]:
        found = (self.entries.get((kind.directory, key)) for key in keys)
        return [entry for entry in found if isinstance(entry, kind)]


router = APIRouter(include_in_schema=False)


@router.get("/internal/registers/{name}", operation_id="read_register")
async def read_register(
    name: str,
    request: Request,
    key: Annotated[list[UUID], Query(max_length=MOST_KEYS)],
    authorization: Annotated[str, Header()] = "",
) -> list[dict[str, object]]:
    """Entries of this service's directory, for the other services alone."""
    admit_service(request, authorization)
    readers: Mapping[type[DirectoryEntry], Reader] = request.app.state.directory
    for kind, read in readers.items():
        if kind.directory == name:
            async with request.app.state.database.reads() as session:
                return [entry.model_dump(mode="json") for entry in await read(session, key)]
    raise Unknown(f"there is no directory of {name} here")
