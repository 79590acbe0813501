"""Finance says of a refund that we did not ask for that it paid none of ours."""

from alembic import op

revision = "payments_not_ours"
down_revision = "payments_sessions_once"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table unmatched_payments add column not_ours boolean not null default false")
