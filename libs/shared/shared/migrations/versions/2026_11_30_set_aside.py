"""Rows on which a job failed: where they are set aside, and until when."""

from alembic import op

revision = "messaging_3"
down_revision = "messaging_2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table set_aside_rows (
            job text not null,
            row_key text not null,
            failures integer not null,
            first_failed_at timestamptz not null,
            failed_at timestamptz not null,
            due_at timestamptz not null,
            last_error text not null,
            constraint pk_set_aside_rows primary key (job, row_key)
        )
    """)
