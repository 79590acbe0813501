"""The base of every event: a frozen fact about one subject, named `service.noun.past-verb.vN`."""

import re
from datetime import UTC, date, datetime
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from shared.clock import FIRST_DAY, FIRST_INSTANT, LAST_DAY, LAST_INSTANT

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _instant(value: object) -> object:
    if isinstance(value, str) and _INSTANT.fullmatch(text := value.strip()):
        try:
            instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
        except OverflowError as error:
            raise ValueError("this instant is in no year from 1 to 9999, seen from UTC") from error
        if not FIRST_INSTANT <= instant <= LAST_INSTANT:
            raise ValueError("this instant is too near to the calendar's end for the local time of every zone")
        return instant
    return _of_time(value, "an instant by RFC 3339, such as 2026-11-24T10:15:00Z")


def _day(value: object) -> object:
    if isinstance(value, str) and _DAY.fullmatch(text := value.strip()):
        day = date.fromisoformat(text)
        if not FIRST_DAY <= day <= LAST_DAY:
            raise ValueError("this day is too near to the calendar's end for the local time of every zone")
        return day
    return _of_time(value, "a day, such as 2026-11-24")


def _of_time(value: object, name: str) -> object:
    """Pydantic takes numbers, and texts that are numbers, for seconds or milliseconds since 1970."""
    if not isinstance(value, date):
        raise ValueError(f"this is not {name}")  # noqa: TRY004 - what pydantic reports as invalid
    return value


Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_instant),
    PlainSerializer(lambda at: at.isoformat().replace("+00:00", "Z"), return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-11-24T10:15:00Z"]}, mode="serialization"
    ),
]
"""An RFC 3339 instant in UTC."""
Day = Annotated[date, BeforeValidator(_day)]
"""A full-date by RFC 3339."""

_types: dict[str, type["Event"]] = {}


class Fact(BaseModel):
    """A part of an event: frozen; fields it does not know are ignored, so that producers may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(Fact):
    """A fact that has happened.

    `type` is the CloudEvents type and the routing key; `subject` names the field that holds the aggregate's
    id; `consumers` are the services whose inboxes take it (checked against those inboxes): an event that
    somebody consumes must find a queue, or the relay keeps it.
    """

    type: ClassVar[str]
    subject: ClassVar[str]
    consumers: ClassVar[frozenset[str]]

    def __init_subclass__(cls, *, type: str, subject: str, consumers: tuple[str, ...] = (), **_: Any) -> None:
        # Any: whatever else pydantic's metaclass passes on
        super().__init_subclass__()
        cls.type, cls.subject, cls.consumers = type, subject, frozenset(consumers)
        if type in _types:
            message = f"two events are called {type}"
            raise TypeError(message)
        _types[type] = cls

    @property
    def service(self) -> str:
        return self.type.partition(".")[0]

    @property
    def aggregate_id(self) -> str:
        return str(getattr(self, type(self).subject))

    @property
    def partition_key(self) -> str:
        """The learner where there is one, else the subject."""
        return str(getattr(self, "learner_id", None) or self.aggregate_id)


@cache
def registry() -> MappingProxyType[str, type[Event]]:
    """Every event type known to this release, by its wire name."""
    for module in iter_modules(import_module("shared.events").__path__):
        import_module(f"shared.events.{module.name}")

    return MappingProxyType(_types)


__all__ = ["Day", "Event", "Fact", "Instant", "registry"]
