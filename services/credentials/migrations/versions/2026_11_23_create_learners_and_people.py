"""Who the learners are: a copy of enrolment's register, so that badges and documents can be made out to them."""

from alembic import op

revision = "credentials_2"
down_revision = "credentials_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "alter table learners add column contact_version integer not null default 1, "
        "add column anonymised_at timestamptz"
    )
    op.execute("""
        create table people (
            learner_id uuid constraint pk_people primary key
                constraint fk_people_learner_id_learners references learners (learner_id),
            name_version integer not null,
            contact_version integer not null,
            legal_name text not null,
            display_name text not null,
            email text not null,
            read_at timestamptz not null
        )
    """)
