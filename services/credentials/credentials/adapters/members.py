"""Reaching into a stranger's JSON, where one may stand for many and anything may be missing."""

from collections.abc import Mapping
from typing import Any, cast

Members = Mapping[str, Any]  # Any: JSON


def listed(value: object) -> list[Any]:  # Any: JSON
    """JSON-LD lets a single value stand for a list of one."""
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]  # Any: JSON


def members(value: object) -> Members:
    """Of an object; of anything else, none."""
    return cast("Members", value) if isinstance(value, Mapping) else {}


def id_of(value: object) -> object:
    """JSON-LD lets an object's id stand for the object."""
    return cast("Members", value).get("id") if isinstance(value, Mapping) else value
