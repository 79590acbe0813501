"""Epochs, in which the feed's cursors are given, and an index by which the feed finds events by type."""

from alembic import op

revision = "messaging_6"
down_revision = "messaging_5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The block below commits it before the revision is written: a try that was broken off has left it.
    op.execute("""
        create table if not exists feed_epochs (
            number bigint generated always as identity constraint pk_feed_epochs primary key,
            epoch text not null constraint uq_feed_epochs_epoch unique,
            system text not null,
            server text not null constraint uq_feed_epochs_server unique,
            since bigint not null,
            mark bigint not null,
            began_at timestamptz not null default now()
        )
    """)
    with op.get_context().autocommit_block():  # relay and commands write on meanwhile
        op.execute("set lock_timeout to '30s'")  # it waits for every transaction that began before
        op.execute("set statement_timeout to '30min'")
        op.execute("drop index concurrently if exists ix_outbox_types")  # what a try that was broken off has left
        op.execute("create index concurrently ix_outbox_types on outbox (type, xid, position) include (created_at)")
        op.execute("set statement_timeout to '60s'")
        op.execute("set lock_timeout to '4s'")
