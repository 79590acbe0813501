"""Writes the golden JSON of events that have none yet: `python libs/shared/tests/golden.py`.

A golden file is an old body that must stay readable; it is written once and never written anew.
"""

import json
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID, uuid5

from pydantic import BaseModel

from shared.events import Event, registry

FOLDER = Path(__file__).parent / "golden"
NAMESPACE = UUID("01890000-0000-7000-8000-000000000000")


def sample(kind: type[BaseModel]) -> dict[str, Any]:
    """Data of this shape, the same on every run."""
    return {name: _value(name, field.annotation) for name, field in kind.model_fields.items()}


def _value(name: str, annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _value(name, next(one for one in arguments if one is not NoneType))
    if origin is tuple:
        return [_value(name, arguments[0])]
    if annotation is UUID:
        return str(uuid5(NAMESPACE, name))
    if annotation is str:
        return {"currency": "GBP", "sha256": "ab" * 32}.get(name, f"{name} — ünïcode")
    if annotation is int:
        return 49500 if name.endswith("_minor") else 7
    if annotation is bool:
        return True
    if annotation is Decimal:
        return "62.5"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return sample(annotation)
    return "2026-11-23T12:00:00.123456Z"  # an instant


def path_of(kind: type[Event]) -> Path:
    return FOLDER / f"{kind.type}.json"


def write_missing() -> None:
    for kind in registry().values():
        if not path_of(kind).exists():
            path_of(kind).write_text(json.dumps(sample(kind), indent=2, ensure_ascii=False) + "\n")
            print("wrote", path_of(kind).name)  # noqa: T201 - a command of its own


if __name__ == "__main__":
    write_missing()
