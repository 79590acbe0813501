"""Each word about an order's money has a later instant than the one before."""

import sqlalchemy as sa
from alembic import op

revision = "payments_10"
down_revision = "payments_9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("told_at", sa.DateTime(timezone=True)))
