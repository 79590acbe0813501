"""What a clock that stood ahead put off is done once the clock is right, and nothing that is due later is hurried."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from shared.database import Database
from shared.due_times import CLOCKS_APART, EVERYWHERE, bring_forward
from shared.ids import new_id

FILL = {
    "letters": "insert into letters (letter_id, kind, about, recipient, subject, text, due_at) "
    "values (:id, 'k', :about, '', '', '', :due)",
    "inbox_retry": "insert into inbox_retry (source, id, type, body, attempt, due_at, last_error) "
    "values ('a', :id, :about, '', 1, :due, '')",
    "outbox": "insert into outbox (id, type, partition_key, body, next_attempt_at) values (:id, :about, 'p', '', :due)",
    "set_aside_rows": "insert into set_aside_rows (job, row_key, failures, first_failed_at, failed_at, due_at, last_error) "
    "values (:id, :about, 1, now(), now(), :due, '')",
}


@pytest.mark.parametrize("column", EVERYWHERE, ids=lambda one: one.table)
async def test_a_day_ahead_is_due_now_and_an_honest_wait_goes_on(payments, column):
    now = datetime.now(UTC)
    honest = now + column.longest + CLOCKS_APART - timedelta(seconds=5)
    async with payments.database.messaging.begin() as connection:
        for about, due in (("wrong", now + timedelta(days=2)), ("honest", honest)):
            key = str(new_id()) if column.table == "set_aside_rows" else new_id()
            await connection.execute(text(FILL[column.table]), {"id": key, "about": about, "due": due})
    database = Database(payments.url, "payments", notifier=payments.notifier, clock=lambda: now)
    try:
        assert await bring_forward(database, EVERYWHERE) == 1
        assert await bring_forward(database, EVERYWHERE) == 0
    finally:
        await database.dispose()
    found = {row[0] for row in await payments.all(f"select {column.column} from {column.table}")}
    assert found == {now, honest}
