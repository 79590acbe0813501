"""What lists and jobs look for is found by an index, however much was ever sold."""

from alembic import op

revision = "payments_5"
down_revision = "payments_4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for index in (
        "ix_unmatched_payments_first_at_unmatched_payments_unmatched_id on unmatched_payments (first_at, unmatched_id)",
        "ix_refunds_ask_at on refunds (ask_at) where ask_at is not null",
        "ix_refunds_learner_id on refunds (learner_id)",
        "ix_notifications_kept on notifications (received_at, body_sha256) where body is not null",
        "ix_rejected_notifications_last_at on rejected_notifications (last_at)",
        "ix_disputes_waiting on disputes (opened_at, dispute_id) where closed_at is null",
    ):
        op.execute(f"create index {index}")
