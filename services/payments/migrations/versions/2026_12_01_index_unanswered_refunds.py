"""Refunds without an answer are counted by an index."""

from alembic import op

revision = "payments_unanswered_refunds"
down_revision = "payments_begun_enrolments"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("drop index concurrently if exists ix_refunds_unanswered")
        op.execute("""
            create index concurrently ix_refunds_unanswered on refunds (submitted_at) where submitted_at is not null
        """)
