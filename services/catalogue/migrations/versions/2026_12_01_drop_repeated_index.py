"""Drop an index whose column is the first one of another."""

from alembic import op

revision = "catalogue_drop_repeated_index"
down_revision = "catalogue_6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_course_versions_subject_id")
