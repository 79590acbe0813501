"""Credit recognised from elsewhere has no course, submission or mark of ours."""

from alembic import op

revision = "credentials_3"
down_revision = "credentials_2"
branch_labels = None
depends_on = None

OURS = ("enrolment_id", "submission_id", "course_id", "course_version_id", "mark", "attempt_no")


def upgrade() -> None:
    # The release before reads no such line until this one, which alone writes them, is everywhere.
    for name in OURS:
        op.execute(f"-- squawk-ignore ban-drop-not-null\nalter table credits alter column {name} drop not null")
    complete = " and ".join(f"{name} is not null" for name in OURS)
    op.execute(
        f"alter table credits add constraint ck_credits_ours check (source <> 'internal' or ({complete})) not valid"
    )
