"""What the regulations say of sharing, of checking documents, of transfer and recognition."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from shared.files import FileKind, file_kind
from shared.regulations import Versions


@dataclass(frozen=True)
class Sharing:
    """`wrong_pins`: after so many the link is locked. `code_life`: how long a partner's code can be redeemed first."""

    longest: timedelta
    wrong_pins: int
    code_life: timedelta


@dataclass(frozen=True)
class Documents:
    """How often a document may be compared, in one `pause`, with a name or class that is not on it.

    After `wrong_comparisons` of theirs a client waits until the pause is over. After `wrong_comparisons_of_all` the
    document slows down for everybody, to as many again spread over the pause: strangers close it to nobody.
    """

    wrong_comparisons: int
    wrong_comparisons_of_all: int
    pause: timedelta

    def wait(self, theirs: int, of_all: int, *, since: timedelta) -> timedelta:
        """How long a client waits who was wrong so often, `since` the first comparison; nothing where it need not."""
        if theirs >= self.wrong_comparisons:
            return self.pause - since
        beyond = of_all + 1 - self.wrong_comparisons_of_all
        return (
            max(self.pause * beyond / self.wrong_comparisons_of_all - since, timedelta()) if beyond > 0 else timedelta()
        )


@dataclass(frozen=True)
class Transfers:
    """A partner decides within `decide_within`, and its acceptance lasts for at most `longest_acceptance`."""

    decide_within: timedelta
    longest_acceptance: timedelta


@dataclass(frozen=True)
class Recognition:
    """`oldest_years`: how old what was learned elsewhere may be; None where age does not matter.

    `ceiling_credits`: the share of the largest award that may come from elsewhere, in credits.
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
    version: str
    effective_from: datetime
    sharing: Sharing
    documents: Documents
    transfers: Transfers
    recognition: Recognition
    levels: tuple[str, ...]
    """The award levels at which a credit can be used."""


def _parse(document: Mapping[str, Any]) -> Policies:  # Any: JSON
    sharing, transfers, recognition = document["sharing"], document["transfers"], document["recognition"]
    largest = max(level["credits"] for level in document["levels"])
    return Policies(
        version=document["version"],
        effective_from=datetime.fromisoformat(document["effective_from"]),
        sharing=Sharing(
            longest=timedelta(days=sharing["longest_days"]),
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
            longest_acceptance=timedelta(days=transfers["acceptance_days_at_most"]),
        ),
        recognition=Recognition(
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


def every_level() -> list[str]:
    """The levels of all versions: a learner may still claim under an older one."""
    return sorted({level for policies in _versions.all.values() for level in policies.levels})
