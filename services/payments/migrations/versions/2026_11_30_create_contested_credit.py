"""Who lost the credit of a course may buy it again."""

from alembic import op

revision = "payments_11"
down_revision = "payments_10"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table contested_credits (
            credit_id uuid constraint pk_contested_credits primary key,
            enrolment_id uuid not null,
            revoked boolean not null,
            revision integer not null
        )
    """)
    op.execute("create index ix_contested_credits_enrolment_id on contested_credits (enrolment_id)")
