"""Learners whose name or address is to be read are found by a mark of their own, not by comparing them all."""

from alembic import op

revision = "credentials_10"
down_revision = "credentials_9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table learners add column unread boolean not null default true")
    op.execute("create index ix_learners_unread on learners (learner_id) where unread")
