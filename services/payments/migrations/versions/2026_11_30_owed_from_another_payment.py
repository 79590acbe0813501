"""A line whose refund was cancelled with its payment may be given back from another payment."""

from alembic import op

revision = "payments_9"
down_revision = "payments_8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout to '30s'")  # it waits for every transaction that began before
        op.execute("set statement_timeout to '30min'")
        for name, columns, rows in (
            ("uq_refunds_line_alive", "order_line_id", "order_line_id is not null and status <> 'cancelled'"),
            ("uq_refunds_line_payment", "order_line_id, payment_id", "order_line_id is not null"),
        ):
            # What a try that was broken off has left.
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create unique index concurrently {name} on refunds ({columns}) where {rows}")
        op.execute("drop index concurrently if exists uq_refunds_line")
        op.execute("set statement_timeout to '60s'")
        op.execute("set lock_timeout to '4s'")
