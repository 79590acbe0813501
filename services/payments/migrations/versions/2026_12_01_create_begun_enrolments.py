"""Enrolments are known by themselves, also those whose order lines a database that was put back has forgotten."""

from alembic import op

revision = "payments_begun_enrolments"
down_revision = "payments_not_ours"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table begun_enrolments (
            enrolment_id uuid constraint pk_begun_enrolments primary key,
            learner_id uuid not null,
            course_id uuid not null,
            order_id uuid not null,
            order_line_id uuid not null,
            begun_at timestamptz not null
        )
    """)
    op.execute("""
        create index ix_begun_enrolments_learner_id_begun_enrolments_course_id
        on begun_enrolments (learner_id, course_id)
    """)
