"""A refund at the provider may pay several of ours, each in a row of its own.

The release before, which may be at work beside this one, reads and writes rows as it did. Of a refund that pays several
it fails on what the provider reports, and moves nothing; this release takes it in.
"""

from alembic import op

revision = "payments_parts_of_refunds"
down_revision = "payments_unanswered_refunds"
branch_labels = None
depends_on = None

INDEXES = (
    ("unique", "pk_provider_refunds_parts", "provider_refunds (provider_refund_id, refund_id)"),
    ("unique", "uq_provider_refunds_whole", "provider_refunds (provider_refund_id) where share_minor is null"),
    ("", "ix_refunds_provider_refund_id", "refunds (provider_refund_id)"),
)


def upgrade() -> None:
    op.execute("alter table provider_refunds add column if not exists share_minor bigint")
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout to '30s'")  # it waits for every transaction that began before
        op.execute("set statement_timeout to '30min'")
        for kind, name, of in INDEXES:
            # What a try that was broken off has left.
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create {kind} index concurrently {name} on {of}")
        op.execute("set statement_timeout to '60s'")
        op.execute("set lock_timeout to '4s'")
    # Wider than before: the release before inserts and reads as it did.
    op.execute("""
        -- squawk-ignore ban-drop-constraint
        alter table provider_refunds drop constraint pk_provider_refunds,
            add constraint pk_provider_refunds primary key using index pk_provider_refunds_parts
    """)
    op.execute("""
        -- squawk-ignore ban-drop-constraint
        alter table refunds drop constraint uq_refunds_provider_refund_id
    """)
