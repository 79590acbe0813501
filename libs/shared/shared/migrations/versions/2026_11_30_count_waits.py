"""How often an event has waited for another is counted apart from how often it has failed."""

from alembic import op

revision = "messaging_11"
down_revision = "messaging_10"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table inbox_retry add column waits integer not null default 0")
