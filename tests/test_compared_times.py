"""No row waits for the day of a clock that once stood ahead: every timestamp that is compared is accounted for."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import DateTime

from embedded.services import NAMES, build, nowhere

GIVEN: Final = {
    "catalogue": {"valid_from", "valid_until"},
    "assessment": {"opens_at", "closes_at"},
    "credentials": {"valid_from", "accepted_until"},
    "payments": {"valid_from"},
}
"""Named by a person, and rightly far ahead."""

BY_ONE_CLOCK: Final = {
    "catalogue": {"created_at"},
    "enrolment": {"received_at", "changed_at", "counted_since", "asked_at"},
    "assessment": {"effective_from", "ends_by"},
    "credentials": {
        *("expires_at", "failing_since", "published_at", "effective_from", "decide_by", "created_at", "redeemed_at"),
        "granted_at",
        *("compared_since", "signed_at"),  # these two begin anew
    },
    "payments": {
        *("expires_at", "quote_ends_at", "funded_at", "session_expires_at", "started_at", "last_at", "received_at"),
        *("seen_at", "compared_at", "since", "submitted_at"),
        "began_at",  # one far ahead begins anew
    },
    "gateway": {"superseded_at", "retired_at", "proposed_at"},
}
"""Written and compared by the database's clock (`DatabaseClock`), which no single replica can put ahead."""

AMONG_THEMSELVES: Final = {
    "enrolment": {"confirmed_at", "created_at", "valid_from"},
    "assessment": {"requested_at", "marked_at", "decided_at", "released_at"},
    "credentials": {"revoked_at", "reinstated_at", "released_at", "reversed_at", "settled_at"},
    "payments": {"requested_at", "status_at", "published_at"},
}
"""Compared with other facts, never with the time."""

_ORDER: Final = r"(?:<=|>=|(?<![-=])>|<)"


@pytest.mark.parametrize("name", NAMES)
def test_every_timestamp_that_is_compared_is_accounted_for(name):
    tables = import_module(f"{name}.tables")
    columns = timestamps(tables.Base)
    brought_forward = {one.column for one in build(name, nowhere()).due_times}
    known = brought_forward.union(*(by_service.get(name, ()) for by_service in (GIVEN, BY_ONE_CLOCK, AMONG_THEMSELVES)))
    found = compared(columns, Path(inspect.getfile(import_module(name))).parent)
    assert found - known == set(), "put it into the service's `due_times`, or say here why it waits for nothing"
    assert known - found == set(), "no longer compared"


@pytest.mark.parametrize("name", NAMES)
def test_no_time_is_counted_from_a_stored_one_without_a_limit(name):
    """It may stand at the calendar's end (`infinity`): `shared.clock.later` ends there, too."""
    columns = "|".join(timestamps(import_module(f"{name}.tables").Base))
    counted = re.compile(
        rf"(?<!Window\.)\b({columns}) [+-] (?!now\b|at\b|grace_seconds \*|timedelta\((?:micro)?seconds=1\))\w"
    )
    package = Path(inspect.getfile(import_module(name))).parent
    lines = [line.strip() for file in package.rglob("*.py") for line in file.read_text().splitlines()]
    assert [line for line in lines if counted.search(line)] == []


def timestamps(base) -> set[str]:
    return {
        column.name
        for table in base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, DateTime) and column.name != "at"
    }


def compared(columns: set[str], package: Path) -> set[str]:
    """The columns that stand beside an order in the code of a service."""
    lines = [line for file in package.rglob("*.py") for line in file.read_text().splitlines()]
    return {
        column
        for column in columns
        for line in lines
        if re.search(rf"\b{column}\b(?:, [\w.()]+)?[^\w=<>]{{0,3}}{_ORDER}|{_ORDER} [\w.( :{{]*\b{column}\b", line)
    }
