"""What a payment brought beyond its lines may go back for two reasons: first too much, then all the rest."""

from alembic import op

revision = "payments_7"
down_revision = "payments_6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout to '30s'")  # it waits for every transaction that began before
        op.execute("set statement_timeout to '30min'")
        # What a try that was broken off has left.
        op.execute("drop index concurrently if exists uq_refunds_payment_reason")
        op.execute(
            "create unique index concurrently uq_refunds_payment_reason on refunds (payment_id, reason_code) "
            "where order_line_id is null"
        )
        op.execute("drop index concurrently if exists uq_refunds_payment")
        op.execute("set statement_timeout to '60s'")
        op.execute("set lock_timeout to '4s'")
