"""The disputes about a payment are found by an index: the one closed last says whether the bank has its money."""

from alembic import op

revision = "payments_disputes_of_payments"
down_revision = "payments_15"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The table holds what finance enters by hand: few rows, indexed in no time.
    op.execute("""
        -- squawk-ignore require-concurrent-index-creation
        create index ix_disputes_payment_id_disputes_closed_at on disputes (payment_id, closed_at)
    """)
