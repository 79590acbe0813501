"""When the opening of a window was announced. Of those that had closed before, nothing is told."""

from alembic import op

revision = "assessment_4"
down_revision = "assessment_3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table windows add column opened_at timestamptz")
