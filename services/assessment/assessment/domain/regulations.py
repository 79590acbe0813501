"""The regulations as data: one JSON document a version, immutable once in effect, pinned at enrolment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from shared.file_checks import FileKind, file_kind
from shared.regulations import Versions, begins


@dataclass(frozen=True, slots=True)
class MarkRule:
    """The scale of marks, and what passes. Marks are points, in whole steps of `step`, from nought to `out_of`."""

    out_of: Decimal
    step: Decimal
    pass_mark: Decimal
    resit_cap: Decimal
    """The most that a second or later attempt is recorded with."""


@dataclass(frozen=True, slots=True)
class WindowRule:
    """The regular window of a month: half-open, between two wall-clock moments of `zone`."""

    zone: ZoneInfo
    opens_day: int
    opens_time: time
    closes_day: int
    closes_time: time
    grace_seconds: int
    months_published: int
    """How many months ahead, the present one included, windows are published."""
    furthest_days: int
    """How far from today a window made by hand may lie."""


@dataclass(frozen=True, slots=True)
class MisconductRule:
    """The reasons for a case of misconduct, and what a proven one does."""

    reasons: frozenset[str]
    mark: Decimal
    """The mark that is recorded where the outcome is `mark_zero`."""
    revocation_reason: str


@dataclass(frozen=True, slots=True)
class Regulations:
    """One version of the rules this service enforces."""

    version: str
    effective_from: datetime
    approved_by: str
    attempts_allowed: int
    marks: MarkRule
    windows: WindowRule
    longest_file_bytes: int
    file_kinds: tuple[FileKind, ...]
    marking_zone: ZoneInfo
    turnaround_working_days: int
    revocation_reasons: frozenset[str]
    reinstatement_reasons: frozenset[str]
    misconduct: MisconductRule


def parse(document: Mapping[str, Any]) -> Regulations:  # Any: JSON
    """Read one version of the regulations; raises KeyError or ValueError where the document is none."""
    marks, windows, work = document["marks"], document["windows"], document["files"]
    misconduct = document["misconduct"]
    return Regulations(
        version=document["version"],
        effective_from=begins(document["effective_from"]),
        approved_by=document["approved_by"],
        attempts_allowed=document["attempts"]["allowed"],
        marks=MarkRule(
            out_of=Decimal(marks["out_of"]),
            step=Decimal(marks["step"]),
            pass_mark=Decimal(marks["pass"]),
            resit_cap=Decimal(marks["resit_cap"]),
        ),
        windows=WindowRule(
            zone=ZoneInfo(windows["zone"]),
            opens_day=windows["opens"]["day"],
            opens_time=time.fromisoformat(windows["opens"]["time"]),
            closes_day=windows["closes"]["day"],
            closes_time=time.fromisoformat(windows["closes"]["time"]),
            grace_seconds=windows["grace_seconds"],
            months_published=windows["months_published"],
            furthest_days=windows["furthest_days"],
        ),
        longest_file_bytes=work["longest_bytes"],
        file_kinds=tuple(map(file_kind, work["kinds"])),
        marking_zone=ZoneInfo(document["marking"]["zone"]),
        turnaround_working_days=document["marking"]["turnaround_working_days"],
        revocation_reasons=frozenset(document["revocation"]["reason_codes"]),
        reinstatement_reasons=frozenset(document["reinstatement"]["reason_codes"]),
        misconduct=MisconductRule(
            reasons=frozenset(misconduct["reason_codes"]),
            mark=Decimal(misconduct["mark"]),
            revocation_reason=misconduct["revocation_reason"],
        ),
    )


versions = Versions("assessment", parse)
find, in_force = versions.find, versions.in_force
