"""A report on regulations counts the learners whom it could not compare."""

from alembic import op

revision = "credentials_not_compared"
down_revision = "credentials_drop_repeated"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table regulation_reports add column not_compared integer not null default 0")
