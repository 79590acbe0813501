"""Credit whose money went back is held, until staff let it stand or the money is there again."""

import sqlalchemy as sa
from alembic import op

revision = "credentials_holds"
down_revision = "credentials_taught"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("enrolments", sa.Column("order_id", sa.Uuid()))
    op.add_column("enrolments", sa.Column("end_reason", sa.Text()))
    op.add_column("enrolments", sa.Column("refund_by", sa.Text()))
    op.create_table(
        "credit_holds",
        sa.Column("credit_id", sa.Uuid(), nullable=False),
        sa.Column("learner_id", sa.Uuid(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refund_by", sa.Text()),
        sa.Column("released_at", sa.DateTime(timezone=True)),
        sa.Column("released_by", sa.Text()),
        sa.Column("release_reason", sa.Text()),
        sa.PrimaryKeyConstraint("credit_id", name="pk_credit_holds"),
        sa.ForeignKeyConstraint(["credit_id"], ["credits.credit_id"], name="fk_credit_holds_credit_id_credits"),
    )
    for which in ("is null", "is not null"):
        name = "open" if which == "is null" else "ended"
        op.execute(f"create index ix_credit_holds_{name} on credit_holds (credit_id) where released_at {which}")
    op.create_index("ix_credit_holds_learner_id", "credit_holds", ["learner_id"])
    # Few are ended for want of money.
    op.execute("create index ix_enrolments_order_id on enrolments (order_id) where end_reason = 'payment_lost'")
