"""Cases of misconduct, which hold claims while they are open."""

from alembic import op

revision = "credentials_12"
down_revision = "credentials_11"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table misconduct_cases (
            case_id uuid constraint pk_misconduct_cases primary key,
            learner_id uuid not null,
            opened_at timestamptz,
            closed_at timestamptz
        )
    """)
    op.execute("create index ix_misconduct_cases_open on misconduct_cases (learner_id) where closed_at is null")
