"""Sessions that ended are found by an index, however many there are."""

from alembic import op

revision = "gateway_3"
down_revision = "gateway_2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index ix_sign_ins_ended_at on sign_ins (ended_at) where ended_at is not null")
