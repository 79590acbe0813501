"""Drop indexes whose columns are the first ones of another."""

from alembic import op

revision = "credentials_drop_repeated"
down_revision = "credentials_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_award_reviews_learner_id")
    op.drop_index("ix_awards_learner_id")
    op.drop_index("ix_recognitions_learner_id")
    op.drop_index("ix_shares_learner_id")
    op.drop_index("ix_transfers_client_id")
    op.drop_index("ix_transfers_learner_id")
    op.drop_index("ix_viewings_share_id")
