"""A course whose result was ratified is not given back by its learner."""

from alembic import op

revision = "payments_13"
down_revision = "payments_12"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create table ratified_results (enrolment_id uuid constraint pk_ratified_results primary key)")
