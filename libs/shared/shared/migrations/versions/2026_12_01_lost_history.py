"""The installation says whether history is lost, positions whose log is read, epochs in which tables they began."""

from alembic import op

revision = "messaging_12_lost_history"
down_revision = "messaging_11"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table feed_epochs add column tables text")
    op.execute("alter table feed_positions add column installation uuid")
    op.execute("""
        alter table installation
            add column history_lost_at timestamptz,
            add column history_lost text,
            add column history_accepted_at timestamptz,
            add column lost_epochs text[] not null default '{}'
    """)
