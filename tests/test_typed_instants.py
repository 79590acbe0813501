"""Instants and days are what RFC 3339 says: a number, or a text that is one, is no seconds since 1970 to anybody."""

import contextlib
from datetime import date, datetime
from typing import Annotated, Any, get_args

import pytest
from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from embedded.services import NAMES, build, nowhere
from shared.events import registry
from shared.events.base import Day, Instant
from shared.process import Process
from shared.web import View

OURS = {*NAMES, "shared"}
NUMBERS = [20261201, 1795000000, 1795000000.5, "20261201", "1795000000", "1795000000.5", -1, 0, True]


def is_of_time(annotation: object) -> bool:
    return annotation in {date, datetime, AwareDatetime} or any(map(is_of_time, get_args(annotation)))


def models() -> list[type[BaseModel]]:
    """What is read from outside: requests, events, the provider's words. Views are read from rows."""
    for name in NAMES:
        Process(build(name, nowhere()))
    registry()
    found: list[type[BaseModel]] = []
    kinds: list[type[BaseModel]] = [BaseModel]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__.partition(".")[0] in OURS and not issubclass(kind, View):
            found.append(kind)
    return found


FIELDS: dict[str, Any] = {
    f"{model.__module__}.{model.__qualname__}.{name}": Annotated[field.annotation, *field.metadata]
    if field.metadata
    else field.annotation
    for model in models()
    for name, field in model.model_fields.items()
    if is_of_time(field.annotation) and "regulations" not in model.__module__
}


def test_there_are_some() -> None:
    assert len(FIELDS) > 60


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_no_number_is_an_instant_or_a_day(name: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(FIELDS[name])
    taken = []
    for number in NUMBERS:
        for value in (number, [number]):
            with contextlib.suppress(ValidationError):
                taken.append(adapter.validate_python(value))
    assert taken == []


@pytest.mark.parametrize(
    "text",
    ["2026-11-24T10:15:00Z", "2026-11-24t10:15:00z", "2026-11-24 10:15:00.123456+01:00", "2026-11-24T10:15:00-00:00"],
)
def test_an_instant_is_read(text: str) -> None:
    assert TypeAdapter(Instant).validate_python(text).tzinfo is not None


@pytest.mark.parametrize(
    "text",
    ["2026-11-24", "2026-11-24T10:15:00", "2026-11-24T10:15Z", "2026-11-24T10:15:00+0100", "2026-11-24T25:00:00Z", "٢٠٢٦-11-24T10:15:00Z", ""],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_python(text)


@pytest.mark.parametrize("text", ["2026-11-31", "2026-11-24T00:00:00Z", "24.11.2026", "2026-1-2", ""])
def test_what_is_no_day_is_refused(text: str) -> None:
    assert TypeAdapter(Day).validate_python("2026-11-24") == date(2026, 11, 24)
    with pytest.raises(ValidationError):
        TypeAdapter(Day).validate_python(text)
