"""Log lines: JSON whatever they are given."""

import json
import logging
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.database import Database
from shared.ids import new_id
from shared.messaging.outbox import OutboxNotifier
from shared.telemetry import JsonFormatter


def line(**extra):
    record = logging.makeLogRecord({"msg": "something %s", "args": ("happened",), "created": 0.5} | extra)
    return json.loads(JsonFormatter("tests", "1").format(record))


def test_a_line_tells_when_who_and_what():
    printed = line(event=UUID(int=7), seconds=1.5)
    assert (printed["at"], printed["service"]) == ("1970-01-01T00:00:00.500000+00:00", "tests")
    assert (printed["message"], printed["event"], printed["seconds"]) == ("something happened", str(UUID(int=7)), 1.5)


@pytest.mark.parametrize("odd", ["half a pair \ud800", 2**70, {1: "a"}, {"set"}, ValueError("no")])
def test_a_line_is_written_whatever_it_holds(odd):
    assert "odd" in line(odd=odd)


SECRET = "ada@lovelace.example"
FAILING = [
    ("insert into people (email) values (:it)", SECRET),  # there already: DETAIL names it
    ("insert into people (email, age) values (:it, -1)", SECRET),  # DETAIL shows the whole row
    ("select cast(cast(:it as text) as uuid)", SECRET),
    ("select cast(:it as int)", SECRET),  # the driver itself refuses it
    ("select :it || chr(0)", f"{SECRET}\nand more (in brackets)"),
]


@pytest.mark.parametrize(("statement", "it"), FAILING)
async def test_what_an_error_of_the_database_quotes_is_not_written_down(make_database, statement, it):
    url = await make_database(f"log_{new_id().hex[-12:]}")
    database = Database(url, "tests", notifier=OutboxNotifier())
    try:
        async with database.transaction() as session:
            await session.execute(text("create table people (email text primary key, age int check (age > 0))"))
            await session.execute(text("insert into people (email) values (:it)"), {"it": SECRET})
        with pytest.raises(DBAPIError) as failed:
            async with database.transaction() as session:
                await session.execute(text(statement), {"it": it})
    finally:
        await database.dispose()
    error = failed.value
    printed = line(exc_info=(type(error), error, error.__traceback__), error=repr(error))
    assert SECRET not in json.dumps(printed)
    assert "[SQL: " in printed["exception"]
    assert type(error.orig.__cause__).__name__ in printed["exception"]
