"""Which order line an enrolment was activated for: there is one for each."""

from alembic import op

revision = "assessment_13_lines"
down_revision = "assessment_12"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table enrolments add column order_line_id uuid")
    op.execute("create unique index uq_enrolments_order_line_id on enrolments (order_line_id)")
