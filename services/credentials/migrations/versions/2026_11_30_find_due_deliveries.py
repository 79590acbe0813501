"""What is due at an address is found by an index, however much waits there."""

from alembic import op

revision = "credentials_21"
down_revision = "credentials_20"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create index ix_webhook_deliveries_pending on webhook_deliveries (endpoint_id, due_at, delivery_id)
        where state = 'pending'
    """)
