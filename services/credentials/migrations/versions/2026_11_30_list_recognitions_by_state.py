"""Registrars list applications for recognition in any state by an index; the one for `submitted` alone is spare."""

from alembic import op

revision = "credentials_27"
down_revision = "credentials_26"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index ix_recognitions_state_recognition_id on recognitions (state, recognition_id)")
