"""Courses are looked for by their module: who studies one judges nobody else's work on it."""

from alembic import op

revision = "assessment_10"
down_revision = "assessment_9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index ix_course_versions_module_family on course_versions (module_family)")
