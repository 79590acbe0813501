"""Awards of former releases that stand on the same credit as another are found, and may be superseded by a review."""

from alembic import op

revision = "credentials_looked_at"
down_revision = "credentials_holds"
branch_labels = None
depends_on = None


# The wider check lets through whatever the release before writes.
STATEMENTS = """
-- squawk-ignore ban-drop-constraint
alter table award_reviews drop constraint ck_award_reviews_decision;
alter table award_reviews add constraint ck_award_reviews_decision
    check (decision in ('substitute', 'rescind', 'rescind_and_offer', 'supersede', 'credit_reinstated')) not valid;
alter table awards add column looked_at boolean not null default false;
create index ix_awards_to_look_at on awards (award_id) where not looked_at
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
