"""Indexes by which housekeeping finds the rows it deletes or blanks, however many there are."""

from alembic import op

revision = "messaging_4"
down_revision = "messaging_3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index ix_inbox_handled_at on inbox (handled_at)")
    op.execute("create index ix_letters_to_blank on letters (coalesce(sent_at, failed_at)) where recipient <> ''")
