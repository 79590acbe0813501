"""Addresses are counted as names are, so that whoever keeps a copy knows when it is old; learners can be erased."""

from alembic import op

revision = "enrolment_2"
down_revision = "enrolment_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "alter table learners add column contact_version integer not null default 1, "
        "add column anonymised_at timestamptz, add column anonymised_by text"
    )
