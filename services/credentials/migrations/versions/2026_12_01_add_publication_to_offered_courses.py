"""The copy of a course says when its version was published: after a loss of history numbers are given a second time."""

from alembic import op

revision = "credentials_published_at"
down_revision = "credentials_suspensions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table offered_courses add column published_at timestamptz")
