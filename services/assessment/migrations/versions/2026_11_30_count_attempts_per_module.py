"""A learner's enrolments are looked for by the learner, and why one was cancelled is kept."""

from alembic import op

revision = "assessment_9"
down_revision = "assessment_8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table enrolment_states add column reason_code text")
    op.execute("create index ix_enrolments_learner_id on enrolments (learner_id)")
