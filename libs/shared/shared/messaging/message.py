"""The envelope: a CloudEvents 1.0 message in structured JSON."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from pydantic import ValidationError

from shared.events import Event, registry
from shared.telemetry import request_id_of, traceparent_of

UNKNOWN_TYPE: Final = "unknown_type"


class Unreadable(Exception):
    """The bytes are no event we know: bad JSON, a missing attribute, an unknown type, data that breaks its schema.

    `reason` is a stable word for the dead letter: malformed, unknown_type (a later release may subscribe to it),
    invalid_data.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def source_of(event: Event) -> str:
    """Return the event's CloudEvents source: the one service that publishes this type."""
    return f"/services/{event.service}"


def envelope(
    event: Event,
    *,
    id: UUID,
    time: datetime,
    traceparent: str | None,
    request_id: str | None,
    causation: str | None,
) -> str:
    """Return the event as the envelope that travels; it is written once, so that every delivery has the same bytes."""
    attributes: dict[str, Any] = {  # Any: JSON
        "specversion": "1.0",
        "id": str(id),
        "source": source_of(event),
        "type": event.type,
        "subject": event.aggregate_id,
        "time": time.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": f"/schemas/{event.type}.json",
        "partitionkey": event.partition_key,
        "traceparent": traceparent,
        "requestid": request_id,
        "causationid": causation,
    }
    head = json.dumps({name: value for name, value in attributes.items() if value is not None})
    return f'{head[:-1]}, "data": {event.model_dump_json()}}}'


@dataclass(frozen=True, slots=True)
class Message:
    """A received envelope: its attributes, the typed event inside, and the bytes as they came.

    An event does not fail by an attribute it could do without: a trace or request id that is none counts as missing,
    and other optional attributes are not read.
    """

    id: UUID
    source: str
    type: str
    event: Event
    body: bytes
    traceparent: str | None
    request_id: str | None

    @property
    def key(self) -> tuple[str, UUID]:
        """The source and the id, by which an event is claimed once."""
        return self.source, self.id

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.body).digest()


def attributes_of(body: bytes) -> dict[str, Any]:  # Any: JSON
    """Return the CloudEvents attributes that can be read, to describe a dead letter; empty where there are none."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}


def subject_of(body: bytes) -> str | None:
    """Return what the event is about; None where that cannot be read."""
    subject = attributes_of(body).get("subject")
    return subject if isinstance(subject, str) else None


def head_of(body: bytes) -> tuple[UUID, str, str, dict[str, Any]]:  # Any: JSON
    """Return an envelope's id, source and type, and all of its members.

    Raises Unreadable: it is no envelope, or one without these.
    """
    try:
        parsed = json.loads(body)
        id_, source, type_ = UUID(parsed["id"]), parsed["source"], parsed["type"]
        if parsed["specversion"] != "1.0":
            raise Unreadable("malformed", f"specversion {parsed['specversion']!r}")
        _ = parsed["data"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("malformed", f"{type(error).__name__}: {error}") from error
    if not (isinstance(source, str) and isinstance(type_, str)):
        raise Unreadable("malformed", f"source {source!r} and type {type_!r} are not both texts")
    return id_, source, type_, parsed


def read(body: bytes) -> Message:
    """Parse an envelope.

    Raises Unreadable: it is no event we know.
    """
    id_, source, type_, parsed = head_of(body)
    kind = registry().get(type_)
    if kind is None:
        raise Unreadable(UNKNOWN_TYPE, type_)
    try:
        event = kind.model_validate(parsed["data"])
    except ValidationError as error:
        raise Unreadable("invalid_data", str(error)) from error
    if source != source_of(event):
        raise Unreadable("malformed", f"{type_} is not announced by {source!r}")
    trace, request = traceparent_of(parsed.get("traceparent")), request_id_of(parsed.get("requestid"))
    return Message(id_, source, type_, event, body, trace, request)
