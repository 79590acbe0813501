"""What every event is: a frozen fact about one subject, named `service.noun.past-verb.vN`."""

from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

Instant = Annotated[
    AwareDatetime,
    PlainSerializer(lambda at: at.isoformat().replace("+00:00", "Z"), return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-11-24T10:15:00Z"]}, mode="serialization"
    ),
]
"""An RFC 3339 instant in UTC."""

_types: dict[str, type["Event"]] = {}


class Fact(BaseModel):
    """A part of an event: frozen; fields it does not know are ignored, so that producers may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(Fact):
    """A fact that has happened.

    `type` is the CloudEvents type and the routing key; `subject` names the field that holds the aggregate's
    id; `heard_by` are the services whose inboxes take it (checked against those inboxes): an event that
    somebody hears must find a queue, or the relay keeps it.
    """

    type: ClassVar[str]
    subject: ClassVar[str]
    heard_by: ClassVar[frozenset[str]]

    def __init_subclass__(cls, *, type: str, subject: str, heard_by: tuple[str, ...] = (), **_: Any) -> None:
        # Any: whatever else pydantic's metaclass passes on
        super().__init_subclass__()
        cls.type, cls.subject, cls.heard_by = type, subject, frozenset(heard_by)
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
    for publisher in ("assessment", "catalogue", "credentials", "enrolment", "gateway", "payments"):
        import_module(f"shared.events.{publisher}")

    return MappingProxyType(_types)


__all__ = ["Event", "Fact", "Instant", "registry"]
