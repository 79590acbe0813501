"""Suspended enrolments hold claims, as enrolment announces them; the feed brings those of before.

What was kept of payments and disputes held claims when nothing was open any longer.
"""

import sqlalchemy as sa
from alembic import op

revision = "credentials_suspensions"
down_revision = "credentials_not_compared"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suspensions",
        sa.Column("enrolment_id", sa.Uuid(), nullable=False),
        sa.Column("learner_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("enrolment_id", name="pk_suspensions"),
    )
    op.execute("create index ix_suspensions_open on suspensions (learner_id) where suspended")
    # Few are ended so.
    op.execute(
        "create index ix_enrolments_ended on enrolments (order_id) where end_reason in ('payment_lost', 'withdrawn')"
    )
    op.drop_index("ix_enrolments_order_id")
    # Credit of who gave a course up while its money was gone was held by that alone.
    op.execute("""
        insert into due_derivations (learner_id)
        select distinct enrolments.learner_id from enrolments join payments using (order_id)
        where enrolments.end_reason = 'withdrawn' and payments.reversed_at is not null
        on conflict do nothing
    """)
