"""Count the comparisons of a paper's name and class that were not the same."""

from alembic import op

revision = "credentials_18"
down_revision = "credentials_17"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table documents
            add column wrong_comparisons integer not null default 0,
            add column compared_since timestamptz
    """)
