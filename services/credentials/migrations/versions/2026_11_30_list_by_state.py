"""Registrars list awards by state, and reviews that wait, by an index."""

from alembic import op

revision = "credentials_17"
down_revision = "credentials_16"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index ix_awards_state_award_id on awards (state, award_id)")
    op.execute("create index ix_award_reviews_waiting on award_reviews (review_id) where decided_at is null")
