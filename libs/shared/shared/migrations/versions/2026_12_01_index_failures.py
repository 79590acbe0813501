"""Indexes by which failed e-mails are counted, and the decision about a dead letter is found when it comes again."""

from alembic import op

revision = "messaging_14_failures"
down_revision = "messaging_13_turns"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_letters_failed": "letters (failed_at) where failed_at is not null and recipient <> ''",
    "ix_parked_messages_key": "parked_messages (source, id)",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout to '30s'")  # it waits for every transaction that began before
        op.execute("set statement_timeout to '30min'")
        for name, what in INDEXES.items():
            op.execute(f"drop index concurrently if exists {name}")  # what a try that was broken off has left
            op.execute(f"create index concurrently {name} on {what}")
        op.execute("set statement_timeout to '60s'")
        op.execute("set lock_timeout to '4s'")
