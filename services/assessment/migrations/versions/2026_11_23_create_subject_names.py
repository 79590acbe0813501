"""The names subjects were given after their courses were published."""

from alembic import op

revision = "assessment_3"
down_revision = "assessment_2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table subject_names (
            subject_id uuid not null,
            effective_from timestamptz not null,
            award_name text not null,
            constraint pk_subject_names primary key (subject_id, effective_from)
        )
    """)
