"""What a clock signed that stood ahead is found by an index, and signed anew."""

from alembic import op

revision = "credentials_19"
down_revision = "credentials_18"
branch_labels = None
depends_on = None


# The wider check lets through whatever the release before writes.
STATEMENTS = """
-- squawk-ignore ban-drop-constraint
alter table badges drop constraint ck_badges_due;
alter table badges add constraint ck_badges_due
    check (due in ('issue', 'correction', 'erasure', 'compromise', 'clock')) not valid;
create index ix_badges_signed_at on badges (signed_at)
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
