"""Status lists as tokens too; the job that publishes lists adds those that are missing."""

from alembic import op

revision = "credentials_15"
down_revision = "credentials_14"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table status_lists add column token text, add column token_signed_with text")
