"""Keep when bytes came."""

import sqlalchemy as sa
from alembic import op

revision = "assessment_keep_when_bytes_came"
down_revision = "assessment_create_forgotten"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("submissions", sa.Column("received_again_at", sa.DateTime(timezone=True), nullable=True))
