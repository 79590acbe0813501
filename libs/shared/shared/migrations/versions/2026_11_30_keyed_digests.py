"""Requests are recognised by keyed digests; a digest of a password goes at once, the other plain ones within a day."""

from alembic import op

revision = "messaging_7"
down_revision = "messaging_6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table idempotency_keys add column request_digest bytea")
    op.execute("update idempotency_keys set request_sha256 = '' where operation = 'open_account'")
