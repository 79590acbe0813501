"""The provider's list is held against the books."""

from alembic import op

revision = "payments_8"
down_revision = "payments_7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table payments add column if not exists compared_at timestamptz")
    op.execute("""
        create table if not exists comparisons (
            provider text not null,
            began_at timestamptz not null,
            since timestamptz not null,
            stage text not null,
            page integer not null,
            finished_at timestamptz,
            constraint pk_comparisons primary key (provider)
        )
    """)
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout to '30s'")  # it waits for every transaction that began before
        op.execute("set statement_timeout to '30min'")
        # What a try that was broken off has left.
        op.execute("drop index concurrently if exists ix_payments_seen_at_payments_payment_id")
        op.execute(
            "create index concurrently ix_payments_seen_at_payments_payment_id on payments (seen_at, payment_id)"
        )
        op.execute("set statement_timeout to '60s'")
        op.execute("set lock_timeout to '4s'")
