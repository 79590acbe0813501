"""A contact address is unconfirmed until its code has come back, the first one too.

Of those in use, these are confirmed which took another's place by a code: there is an e-mail about it. Of the others
nobody knows whose they are.
"""

from alembic import op

revision = "enrolment_4"
down_revision = "enrolment_3"
branch_labels = None
depends_on = "messaging_1"


def upgrade() -> None:
    op.execute("alter table learners add column contact_confirmed_at timestamptz")
    op.execute("alter table contact_changes add column tries integer not null default 0")
    op.execute("""
        update learners set contact_confirmed_at = letters.created_at from letters
        where letters.kind = 'contact_changed'
            and letters.about = learners.learner_id::text || ' ' || learners.contact_version::text
            and learners.anonymised_at is null
    """)
