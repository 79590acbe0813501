"""Registers: what must not travel in events (names, addresses), read by key from the one service that owns it.

An event says that an entry changed, and its version; who needs the entry reads it here as it is now. Outside a
transaction, from a job: the owner may be away, and then nothing is held up but that.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Protocol, TypeVar
from uuid import UUID

import httpx
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Unknown
from shared.errors import Unavailable
from shared.messaging.feed import admit_service

MOST_KEYS = 100
"""In one question: an address has a length."""


class Entry(BaseModel, ABC):
    """One entry of a register: its present state. Fields it does not know are ignored, so that owners may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    register: ClassVar[str]
    owner: ClassVar[str]
    """The service that serves it."""

    @property
    @abstractmethod
    def key(self) -> UUID: ...


class PersonEntry(Entry):
    """Who a learner is, and how to write to them. Nobody who was anonymised has an entry."""

    register: ClassVar[str] = "people"
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
    """Whether a code sent to that address came back. None: the owner's release does not tell yet."""

    @property
    def key(self) -> UUID:
        return self.learner_id


E = TypeVar("E", bound=Entry)
Reader = Callable[[AsyncSession, Sequence[UUID]], Awaitable[Iterable[Entry]]]
"""The entries there are of those asked for."""


class RegisterUnreachable(Unavailable):
    """The owner of a register does not answer, or not in its terms."""


class Registers(Protocol):
    """Of all the services, by what their entries are."""

    async def read(self, kind: type[E], keys: Collection[UUID]) -> list[E]:
        """The entries of these keys as they are now, at most MOST_KEYS; those without one are left out.

        Raises RegisterUnreachable.
        """
        ...


class HttpRegisters:
    def __init__(self, urls: Mapping[str, str], secret: str, client: httpx.AsyncClient) -> None:
        self._urls, self._secret, self._client = urls, secret, client

    async def read(self, kind: type[E], keys: Collection[UUID]) -> list[E]:
        if kind.owner not in self._urls:
            raise RegisterUnreachable(f"nobody said where {kind.owner} is")
        try:
            answer = await self._client.get(
                f"{self._urls[kind.owner]}/internal/registers/{kind.register}",
                params=[("key", str(key)) for key in keys],
                headers={"Authorization": f"Bearer {self._secret}"},
            )
            answer.raise_for_status()
            entries: list[object] = answer.json()
            return [kind.model_validate(entry) for entry in entries]
        except (httpx.HTTPError, ValueError, TypeError) as error:
            raise RegisterUnreachable(f"the register of {kind.register} cannot be read: {error!r}") from error


class LocalRegisters:
    """The twin without HTTP: what it was given is what there is."""

    def __init__(self, *entries: Entry) -> None:
        self.entries: dict[tuple[str, UUID], Entry] = {}
        self.write(*entries)

    def write(self, *entries: Entry) -> None:
        self.entries |= {(entry.register, entry.key): entry for entry in entries}

    async def read(self, kind: type[E], keys: Collection[UUID]) -> list[E]:
        found = (self.entries.get((kind.register, key)) for key in keys)
        return [entry for entry in found if isinstance(entry, kind)]


router = APIRouter(include_in_schema=False)


@router.get("/internal/registers/{register}", operation_id="read_register")
async def read_register(
    register: str,
    request: Request,
    key: Annotated[list[UUID], Query(max_length=MOST_KEYS)],
    authorization: Annotated[str, Header()] = "",
) -> list[dict[str, object]]:
    """Entries of this service's register, for the other services alone."""
    admit_service(request, authorization)
    readers: Mapping[type[Entry], Reader] = request.app.state.registers
    for kind, read in readers.items():
        if kind.register == register:
            async with request.app.state.database.reads() as session:
                return [entry.model_dump(mode="json") for entry in await read(session, key)]
    raise Unknown(f"there is no register of {register} here")
