"""The inbox says what each event is about, for a person who looks for what its source has lost."""

from alembic import op

revision = "messaging_17_subject"
down_revision = "messaging_16_store_claimed"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table inbox add column subject text")
