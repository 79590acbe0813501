"""What earlier releases noted of lines that a payment left out: what the migration makes of it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from embedded.services import versions_of
from shared.ids import new_id
from shared.migrate import migrate
from shared.testing.migrations import migrated_until

AT = datetime(2026, 11, 1, tzinfo=UTC)
ORDER, LINE, FIRST, SECOND, REFUND = (new_id() for _ in range(5))
BOUGHT = (
    """
    insert into orders (order_id, learner_id, status, currency, placed_at, quote_ends_at, expires_at,
        regulations_version)
    values (:order, :line, 'paid', 'GBP', :at, :at, :at, 'mc-regs-2026.2')
    """,
    """
    insert into order_lines (order_line_id, order_id, position, course_id, course_version_id, code, title, list_minor,
        discount_minor, due_minor)
    values (:line, :order, 1, :line, :line, 'DS01', '', 1, 0, 1)
    """,
)
ATTEMPT = """
    insert into checkout_attempts (attempt_id, order_id, attempt_no, reference, status, amount_minor, currency, quote,
        payer_email, return_url, started_at)
    values (:payment, :order, (select count(*) from checkout_attempts), cast(cast(:payment as uuid) as text), 'paid', 1, 'GBP', '{}',
        '', '', :at)
"""
PAYMENT = """
    insert into payments (payment_id, provider, reference, attempt_id, order_id, state, use, provider_status, status_at,
        revision, amount_minor, currency, method, reason_code, seen_at, funded_at)
    values (:payment, 'flywire', cast(cast(:payment as uuid) as text), :payment, :order, 'lost', 'order', 'reversed', :at, 1, 1, 'GBP', 'card',
        '', :at, :at)
"""
POSTING = """
    insert into ledger_postings (cause, kind, order_id, payment_id, refund_id, currency, posted_at)
    values (:cause, :kind, :order, :payment, :refund, 'GBP', :at)
"""
NOTE = """
    insert into refunds (refund_id, order_id, order_line_id, payment_id, learner_id, amount_minor, currency, reason_code,
        requested_by, requested_at, status)
    values (:refund, :order, :line, :payment, :refund, 1, 'GBP', :reason, :by, :at, :status)
"""
NOTED = {"reason": "activation_impossible", "by": "policy", "status": "cancelled", "at": AT + timedelta(seconds=1)}
LEFT_AS_THEY_ARE = {
    "refused": {"by": "enrolment: course_withdrawn"},
    "granted": {"reason": "goodwill"},
    "paid": {"status": "completed"},
    "before": {"at": AT - timedelta(days=1)},
    "after": {"at": AT + timedelta(days=1)},
    "owed": {},
}


@pytest.mark.parametrize("kind", ["noted", *LEFT_AS_THEY_ARE])
async def test_what_was_noted_of_a_lost_payment_is_a_note_about_the_one_that_left_it_out(make_database, kind):
    url, versions = await make_database(f"before_{new_id().hex[-12:]}"), versions_of("payments")
    engine = await migrated_until(url, versions, "payments_delayed_refunds")
    async with engine.begin() as connection:
        for statement in BOUGHT:
            await connection.execute(text(statement), {"order": ORDER, "line": LINE, "at": AT})
        for payment, at in ((FIRST, AT - timedelta(days=9)), (SECOND, AT)):
            await connection.execute(text(ATTEMPT), {"payment": payment, "order": ORDER, "at": at})
            await connection.execute(text(PAYMENT), {"payment": payment, "order": ORDER, "at": at})
        posted = {"order": ORDER, "payment": SECOND, "at": AT + timedelta(seconds=2)}
        await connection.execute(text(POSTING), posted | {"cause": "1", "kind": "sold_again", "refund": None})
        row = NOTED | LEFT_AS_THEY_ARE.get(kind, {})
        await connection.execute(text(NOTE), row | {"refund": REFUND, "order": ORDER, "line": LINE, "payment": FIRST})
        if kind == "owed":
            owed = posted | {"payment": FIRST, "cause": "2", "kind": "refund_requested", "refund": REFUND}
            await connection.execute(text(POSTING), owed)
    await migrate(url, versions)
    async with engine.connect() as connection:
        [found] = await connection.execute(text("select payment_id, reason_code, status from refunds"))
    expected = (SECOND, "not_paid_for", "cancelled") if kind == "noted" else (FIRST, row["reason"], row["status"])
    assert tuple(found) == expected
    await engine.dispose()
