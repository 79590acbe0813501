"""The copy of a course says when its version was published: after a loss of history numbers are given a second time."""

from alembic import op

revision = "payments_published_at"
down_revision = "payments_disputes_of_payments"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table offered_courses add column published_at timestamptz")
