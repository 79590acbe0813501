"""An index by which rows are found that were set aside with a wrong clock's due time."""

from alembic import op

revision = "messaging_9"
down_revision = "messaging_8"
branch_labels = None
depends_on = None


STATEMENT = """
-- squawk-ignore require-concurrent-index-creation
create index ix_set_aside_rows_due_at on set_aside_rows (due_at)
"""


def upgrade() -> None:
    op.execute(STATEMENT)
