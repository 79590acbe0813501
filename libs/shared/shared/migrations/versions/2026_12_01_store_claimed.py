"""The installation says since when it has a file store of its own."""

from alembic import op

revision = "messaging_16_store_claimed"
down_revision = "messaging_15_compared_epoch"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table installation add column store_claimed_at timestamptz")
