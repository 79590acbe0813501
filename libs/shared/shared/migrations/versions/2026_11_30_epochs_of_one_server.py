"""A database that was moved to another server and back begins an epoch there again."""

from alembic import op

revision = "messaging_10"
down_revision = "messaging_9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # It came with no release yet: nobody's statements count on it.
    op.execute("""
        -- squawk-ignore ban-drop-constraint
        alter table feed_epochs drop constraint uq_feed_epochs_server
    """)
