"""Reads facts from what is stored of events and decisions."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from enrolment.domain import facts
from shared.events import registry


def digest(kind: str, subject: UUID, data: Mapping[str, Any]) -> UUID:  # Any: the event as JSON
    """Return the id of a fact: the same however often it arrives."""
    canonical = json.dumps([kind, str(subject), data], sort_keys=True, separators=(",", ":"))
    return UUID(bytes=hashlib.sha256(canonical.encode()).digest()[:16])


def kind_of(fact: type[facts.Fact]) -> str:
    """Return the name under which facts of a class are stored: an event's wire name, or that of a decision."""
    return next(name for name, found in _classes().items() if found is fact)


def read(
    kind: str,
    fact_id: UUID,
    subject: UUID,
    at: datetime,
    data: Mapping[str, Any],  # Any: the event as JSON
) -> facts.Fact | None:
    """Return a stored fact; None for a kind that a later release stored, as while two of them run."""
    reader = _readers().get(kind)
    if reader is None:
        return None
    return reader.validate_python({**data, "fact_id": fact_id, "subject": subject, "at": at})


@cache
def _readers() -> Mapping[str, TypeAdapter[Any]]:  # Any: of each its class
    return {name: TypeAdapter(fact) for name, fact in _classes().items()}


@cache
def _classes() -> Mapping[str, type[facts.Fact]]:
    found = {name: getattr(facts, event.__name__, None) for name, event in registry().items()}
    return {name: fact for name, fact in found.items() if fact is not None} | facts.DECISIONS
