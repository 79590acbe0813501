"""Feed positions say which types were read, and how often the next page was begun."""

from alembic import op

revision = "messaging_2"
down_revision = "messaging_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table feed_positions add column types text[] not null default '{}'")
    op.execute("alter table feed_positions add column attempts integer not null default 0")
