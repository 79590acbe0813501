"""Entries, each with a title of its own."""

from alembic import op

revision = "newservice_1"
down_revision = None
branch_labels = ("newservice",)
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table entries (
            entry_id uuid constraint pk_entries primary key,
            title text not null,
            title_key text not null constraint uq_entries_title_key unique
        )
    """)
