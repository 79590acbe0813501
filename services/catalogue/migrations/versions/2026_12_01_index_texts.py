"""What the index of courses says of outcomes and skills is their texts, no longer their JSON."""

from alembic import op

revision = "catalogue_index_texts"
down_revision = "catalogue_drop_repeated_index"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "update subjects set renewed_up_to = '00000000-0000-0000-0000-000000000000'"
    )  # a job renews all listings
