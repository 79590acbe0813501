"""Count the comparisons that were not the same also by who made them, so that nobody uses up another's tries."""

from alembic import op

revision = "credentials_24"
down_revision = "credentials_23"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table documents add column wrong_by_client jsonb not null default '{}'")
