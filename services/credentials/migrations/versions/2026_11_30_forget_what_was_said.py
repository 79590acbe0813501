"""Empty the hash of what a document said where its holder was anonymised: it could be guessed at."""

from alembic import op

revision = "credentials_22"
down_revision = "credentials_21"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("update editions set content_sha256 = '' where content is null and content_sha256 <> ''")
