"""What the provider pays back may come in another currency than what is owed."""

from alembic import op

revision = "payments_6"
down_revision = "payments_5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table provider_refunds add column currency text")
