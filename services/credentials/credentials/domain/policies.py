"""The regulations' policies on sharing, checking documents, transfers and prior learning."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from shared.file_checks import FileKind, file_kind
from shared.regulations import Versions, begins


@dataclass(frozen=True)
class Sharing:
    """Limits of shares. A link is locked after `wrong_pins`; a partner must first redeem its code within
    `code_life`."""

    longest_years: int
    wrong_pins: int
    code_life: timedelta


@dataclass(frozen=True)
class Documents:
    """How often a document may be compared, in one `pause`, with a name or class that is not on it.

    After `wrong_comparisons` of its own a client waits until the pause is over. After `wrong_comparisons_of_all`,
    clients that were wrong before are slowed down, so that as many again spread over the pause. As many again are
    reserved for clients that were not wrong yet; then these are slowed down, too.
    """

    wrong_comparisons: int
    wrong_comparisons_of_all: int
    pause: timedelta

    def wait(self, theirs: int, of_all: int, *, since: timedelta) -> timedelta:
        """Return how long a client must wait before its next comparison; zero where it need not.

        `theirs` and `of_all` count wrong comparisons in this pause, whose first was `since` ago.
        """
        if theirs >= self.wrong_comparisons:
            return self.pause - since
        beyond = of_all + 1 - self.wrong_comparisons_of_all * (1 if theirs else 2)
        return (
            max(self.pause * beyond / self.wrong_comparisons_of_all - since, timedelta()) if beyond > 0 else timedelta()
        )


@dataclass(frozen=True)
class Transfers:
    """A partner decides within `decide_within`, and its acceptance lasts for at most `acceptance_years`."""

    decide_within: timedelta
    acceptance_years: int


@dataclass(frozen=True)
class PriorLearningLimits:
    """Limits of prior learning.

    `oldest_years`: how long ago it may have been completed; None where age does not matter. `ceiling_credits`: the
    share of the largest award that may come from elsewhere, in credits.
    """

    oldest_years: int | None
    ceiling_credits: int
    module_credits: int
    framework_level: int
    most_files: int
    longest_file_bytes: int
    file_kinds: tuple[FileKind, ...]


@dataclass(frozen=True)
class Policies:
    """The policies of one version of the regulations."""

    version: str
    effective_from: datetime
    sharing: Sharing
    documents: Documents
    transfers: Transfers
    recognition: PriorLearningLimits
    levels: tuple[str, ...]
    """The award levels at which a credit can be used."""


def _parse(document: Mapping[str, Any]) -> Policies:  # Any: JSON
    sharing, transfers, recognition = document["sharing"], document["transfers"], document["recognition"]
    largest = max(level["credits"] for level in document["levels"])
    return Policies(
        version=document["version"],
        effective_from=begins(document["effective_from"]),
        sharing=Sharing(
            longest_years=sharing["longest_years"],
            wrong_pins=sharing["wrong_pins"],
            code_life=timedelta(days=sharing["code_days"]),
        ),
        documents=Documents(
            wrong_comparisons=document["documents"]["wrong_comparisons"],
            wrong_comparisons_of_all=document["documents"]["wrong_comparisons_of_all"],
            pause=timedelta(minutes=document["documents"]["comparison_minutes"]),
        ),
        transfers=Transfers(
            decide_within=timedelta(days=transfers["decide_within_days"]),
            acceptance_years=transfers["acceptance_years_at_most"],
        ),
        recognition=PriorLearningLimits(
            oldest_years=recognition["age_years_at_most"],
            ceiling_credits=int(largest * Fraction(document["external_max_share"])),
            module_credits=document["module_credits"],
            framework_level=document["framework_level"],
            most_files=recognition["files_at_most"],
            longest_file_bytes=recognition["file_bytes_at_most"],
            file_kinds=tuple(map(file_kind, recognition["file_kinds"])),
        ),
        levels=tuple(level["code"] for level in document["levels"]),
    )


_versions = Versions("credentials", _parse)
in_force = _versions.in_force


def years_after(at: datetime, years: int) -> datetime:
    """Return the same day of the year, years later; 1 March for a 29 February where that year has none."""
    try:
        return at.replace(year=at.year + years)
    except ValueError:
        return at.replace(year=at.year + years, month=3, day=1)


def every_level() -> list[str]:
    """Return the level codes of all versions, since a learner may still claim under an older one."""
    return sorted({level for policies in _versions.all.values() for level in policies.levels})
