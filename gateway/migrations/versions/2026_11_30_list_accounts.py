"""Accounts are listed by an index."""

from alembic import op

revision = "gateway_4"
down_revision = "gateway_3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index ix_accounts_opened_at_account_id on accounts (opened_at, account_id)")
