"""What finance is shown ends by itself, or is closed with a note, and is kept."""

import sqlalchemy as sa
from alembic import op

revision = "payments_14"
down_revision = "payments_13"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("unmatched_payments", sa.Column("ended_at", sa.DateTime(timezone=True)))
    op.add_column("unmatched_payments", sa.Column("ended_by", sa.Text()))
    op.add_column("unmatched_payments", sa.Column("note", sa.Text()))
    for name, which in (("open", "is null"), ("ended", "is not null")):
        # The table holds what people look at: few rows, indexed in no time.
        op.execute(f"""
            -- squawk-ignore require-concurrent-index-creation
            create index ix_unmatched_payments_{name} on unmatched_payments (first_at, unmatched_id)
            where ended_at {which}
        """)
