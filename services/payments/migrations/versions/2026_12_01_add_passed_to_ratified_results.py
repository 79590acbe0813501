"""Of a ratified result, whether it is a pass: what was passed is not sold again."""

import sqlalchemy as sa
from alembic import op

revision = "payments_15"
down_revision = "payments_14"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ratified_results", sa.Column("passed", sa.Boolean()))
