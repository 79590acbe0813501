"""A session at the provider is of one checkout: an answer that names another's is not believed."""

from alembic import op

revision = "payments_sessions_once"
down_revision = "payments_published_at"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Where a proxy answered with another's session, the payment is looked for by our reference.
    op.execute("""
        update checkout_attempts later
        set provider_session = null, pay_url = null,
            status = case when later.status = 'open' then 'unknown' else later.status end
        from checkout_attempts first
        where first.provider_session = later.provider_session and first.attempt_id <> later.attempt_id
          and (first.started_at, first.attempt_id) < (later.started_at, later.attempt_id)
    """)
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout to '30s'")  # it waits for every transaction that began before
        op.execute("set statement_timeout to '30min'")
        # What a try that was broken off has left.
        op.execute("drop index concurrently if exists uq_checkout_attempts_session")
        op.execute(
            "create unique index concurrently uq_checkout_attempts_session on checkout_attempts (provider_session) "
            "where provider_session is not null"
        )
        op.execute("set statement_timeout to '60s'")
        op.execute("set lock_timeout to '4s'")
