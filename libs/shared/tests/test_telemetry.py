"""Log lines: JSON whatever they are given."""

import json
import logging
from uuid import UUID

import pytest

from shared.telemetry import JsonFormatter


def line(**extra):
    record = logging.makeLogRecord({"msg": "something %s", "args": ("happened",), "created": 0.5} | extra)
    return json.loads(JsonFormatter("tests", "1").format(record))


def test_a_line_tells_when_who_and_what():
    told = line(event=UUID(int=7), seconds=1.5)
    assert (told["at"], told["service"]) == ("1970-01-01T00:00:00.500000+00:00", "tests")
    assert (told["message"], told["event"], told["seconds"]) == ("something happened", str(UUID(int=7)), 1.5)


@pytest.mark.parametrize("odd", ["half a pair \ud800", 2**70, {1: "a"}, {"set"}, ValueError("no")])
def test_a_line_is_written_whatever_it_holds(odd):
    assert "odd" in line(odd=odd)
