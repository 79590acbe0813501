"""The installation says in which epoch every other service was last asked how far it has read this database's log."""

from alembic import op

revision = "messaging_15_compared_epoch"
down_revision = "messaging_14_failures"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table installation add column compared_epoch text")
