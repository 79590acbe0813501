"""Each renaming of a subject is told later than those before, whichever replica's clock told when."""

from alembic import op

revision = "catalogue_6"
down_revision = "catalogue_5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table subjects add column renamed_at timestamptz")
