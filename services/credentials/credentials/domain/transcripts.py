"""The transcript: all that a learner holds as at an instant, without results that no board has ratified."""

from collections.abc import Iterable, Mapping
from typing import Any

Document = dict[str, Any]  # Any: JSON


def content(
    learner_id: str,
    name: str,
    credits_: Iterable[Mapping[str, Any]],  # Any: JSON
    awards: Iterable[Mapping[str, Any]],  # Any: JSON
) -> Document:
    """Return what a transcript says, apart from its version and instant. The total is of ratified credit."""
    earned = sorted(credits_, key=lambda entry: (entry["ratified_at"], entry["credit_id"]))
    return {
        "learner_id": learner_id,
        "name": name,
        "credits": earned,
        "total_credits": sum(entry["credits"] for entry in earned),
        "awards": sorted(awards, key=lambda entry: (entry["conferred_at"], entry["award_id"])),
    }


def is_empty(said: Mapping[str, Any]) -> bool:  # Any: JSON
    return not said["credits"] and not said["awards"]
