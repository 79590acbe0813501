"""Keep who took a credit away: somebody else decides on the award that stands on it."""

from alembic import op

revision = "credentials_23"
down_revision = "credentials_22"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table revocations add column decided_by text")
