"""Whoever holds credit of a renamed subject is derived anew; those of earlier renamings, too."""

import sqlalchemy as sa
from alembic import op

revision = "credentials_28"
down_revision = "credentials_27"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subject_names", sa.Column("holders_due", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.execute("create index ix_subject_names_holders_due on subject_names (subject_id) where holders_due")
    op.execute("create index ix_credits_subject_id on credits (subject_id)")
    op.create_table("due_derivations", sa.Column("learner_id", sa.Uuid(), primary_key=True))
