"""Read a stranger's JSON, where one value may stand for a list and anything may be missing."""

from collections.abc import Mapping
from typing import Any, cast

Members = Mapping[str, Any]  # Any: JSON


def listed(value: object) -> list[Any]:  # Any: JSON
    """Return a list of values, since JSON-LD lets a single value stand for a list of one."""
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]  # Any: JSON


def members(value: object) -> Members:
    """Return the members of an object; of anything else, none."""
    return cast("Members", value) if isinstance(value, Mapping) else {}


def id_of(value: object) -> object:
    """Return the id of an object, since JSON-LD lets the id stand for the object."""
    return cast("Members", value).get("id") if isinstance(value, Mapping) else value
