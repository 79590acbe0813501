"""Learners who are anonymised."""

from alembic import op

revision = "payments_3"
down_revision = "payments_2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table learners add column anonymised_at timestamptz")
