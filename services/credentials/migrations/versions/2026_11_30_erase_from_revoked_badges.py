"""Sign revoked badges of who was anonymised without the hash of their address; keep no record that names them."""

from alembic import op

revision = "credentials_erase_revoked"
down_revision = "credentials_reasons"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        update badges set due = 'erasure' from learners
        where learners.learner_id = badges.learner_id and learners.anonymised_at is not null
        and badges.revoked_at is not null and badges.document is not null and badges.due is distinct from 'compromise'
    """)
    op.execute("update editions set clr = null where content is null and clr is not null")
