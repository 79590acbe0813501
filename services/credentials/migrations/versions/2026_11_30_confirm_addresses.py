"""Whose address is confirmed is asked of enrolment, also of those who are known: nobody has told yet."""

from alembic import op

revision = "credentials_26"
down_revision = "credentials_25"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table people
            add column email_confirmed boolean not null default false,
            add column told_version integer
    """)
    op.execute("""
        -- squawk-ignore require-concurrent-index-creation
        create index ix_people_untold on people (learner_id) where told_version is distinct from contact_version
    """)
