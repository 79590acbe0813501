"""Courses heard of after their credit: whoever holds it is derived anew, so that documents say where it was taught."""

import sqlalchemy as sa
from alembic import op

revision = "credentials_taught"
down_revision = "credentials_closed_partners"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("achievements", sa.Column("holders_due", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("create index ix_achievements_holders_due on achievements (achievement_id) where holders_due")
    op.execute("create index ix_credits_course_version_id on credits (course_version_id)")
