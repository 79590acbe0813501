"""A refund says since when it is delayed, whatever holds it back; of those without an answer alone nobody counts."""

from alembic import op

revision = "payments_delayed_refunds"
down_revision = "payments_parts_of_refunds"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table refunds add column if not exists delayed_since timestamptz")
    with op.get_context().autocommit_block():
        op.execute("drop index concurrently if exists ix_refunds_delayed")
        op.execute("""
            create index concurrently ix_refunds_delayed on refunds (requested_at, refund_id)
                where delayed_since is not null
        """)
        op.execute("drop index concurrently if exists ix_refunds_unanswered")
