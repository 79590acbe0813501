"""Lists of learners and partners are paged by an index, however long they grow."""

from alembic import op

revision = "credentials_20"
down_revision = "credentials_19"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for index in (
        "ix_viewings_share_id_viewing_id on viewings (share_id, viewing_id)",
        "ix_shares_learner_id_share_id on shares (learner_id, share_id)",
        "ix_shares_client_id_share_id on shares (client_id, share_id) where redeemed_at is not null",
        "ix_transfers_learner_id_transfer_id on transfers (learner_id, transfer_id)",
        "ix_transfers_client_id_transfer_id on transfers (client_id, transfer_id)",
        "ix_awards_learner_id_award_id on awards (learner_id, award_id)",
        "ix_award_reviews_learner_id_review_id on award_reviews (learner_id, review_id)",
        "ix_recognitions_learner_id_recognition_id on recognitions (learner_id, recognition_id)",
        "ix_webhook_deliveries_endpoint_id on webhook_deliveries (endpoint_id, delivery_id)",
        "ix_webhook_deliveries_state on webhook_deliveries (endpoint_id, state, delivery_id)",
    ):
        op.execute(f"create index {index}")
