"""What is on sale, at which price, and who studies it: what plans towards an award are made of."""

from alembic import op

revision = "credentials_4"
down_revision = "credentials_3"
branch_labels = None
depends_on = "messaging_2"  # whose tables are written

ALREADY_HEARD = ("catalogue.course.published.v1", "catalogue.course.updated.v1", "enrolment.enrolment.activated.v1")


def upgrade() -> None:
    op.execute("""
        create table offered_courses (
            course_id uuid constraint pk_offered_courses primary key,
            course_version_id uuid,
            version integer,
            code text,
            title text,
            institution_name text,
            subject_id uuid,
            subject_name text,
            credits integer,
            level integer,
            family text,
            weeks integer,
            withdrawn_at timestamptz,
            constraint ck_offered_courses_known check (
                course_version_id is null or (
                    version is not null and code is not null and title is not null and institution_name is not null
                    and subject_id is not null and subject_name is not null and credits is not null
                    and level is not null and family is not null and weeks is not null
                )
            )
        )
    """)
    op.execute("""
        create table prices (
            price_id uuid constraint pk_prices primary key,
            course_id uuid not null,
            amount_minor bigint not null,
            currency text not null,
            valid_from timestamptz not null
        )
    """)
    op.execute("create index ix_prices_course_id_valid_from on prices (course_id, valid_from)")
    op.execute("""
        create table enrolments (
            enrolment_id uuid constraint pk_enrolments primary key,
            learner_id uuid not null,
            course_id uuid not null,
            activated_at timestamptz,
            ended_at timestamptz
        )
    """)
    op.execute("create index ix_enrolments_learner_id on enrolments (learner_id)")
    # These were heard before and told us more than was kept: their feeds are read once more from the beginning.
    op.execute(f"delete from inbox where type in {ALREADY_HEARD}")  # noqa: S608 - our own names
    for kind in ALREADY_HEARD:
        op.execute(f"update feed_positions set types = array_remove(types, '{kind}')")  # noqa: S608 - our own names
