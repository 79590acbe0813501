"""Who set a price buys nothing at it."""

from alembic import op

revision = "payments_12"
down_revision = "payments_11"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table prices add column set_by text")
