"""A table of the learners who were anonymised."""

import sqlalchemy as sa
from alembic import op

revision = "assessment_create_forgotten"
down_revision = "assessment_14_validated"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "forgotten_authors",
        sa.Column("learner_id", sa.Uuid(), nullable=False),
        sa.Column("anonymised_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("learner_id", name=op.f("pk_forgotten_authors")),
    )
