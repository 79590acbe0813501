"""Learners, courses as heard, facts, paid lines, enrolments, progress."""

from alembic import op

revision = "enrolment_1"
down_revision = None
branch_labels = ("enrolment",)
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table learners (
            learner_id uuid constraint pk_learners primary key,
            country text not null,
            date_of_birth date,
            contact_email text not null,
            name_version integer not null,
            registered_at timestamptz not null
        )
    """)
    op.execute("""
        create table names (
            learner_id uuid not null constraint fk_names_learner_id_learners references learners,
            version integer not null,
            given_name text,
            family_name text not null,
            display_name text not null,
            valid_from timestamptz not null,
            constraint pk_names primary key (learner_id, version)
        )
    """)
    op.execute("""
        create table declarations (
            learner_id uuid not null constraint fk_declarations_learner_id_learners references learners,
            version text not null,
            answers jsonb not null,
            sha256 text not null,
            declared_at timestamptz not null,
            constraint pk_declarations primary key (learner_id, version)
        )
    """)
    op.execute("""
        create table course_versions (
            course_version_id uuid constraint pk_course_versions primary key,
            course_id uuid not null,
            version integer not null,
            slug text not null,
            code text not null,
            title text not null,
            module_family text not null,
            subject_name text not null,
            institution_name text not null,
            credits integer not null,
            level integer not null,
            weeks integer not null
        )
    """)
    op.execute("""
        create table withdrawn_courses (
            course_id uuid constraint pk_withdrawn_courses primary key,
            withdrawn_at timestamptz not null
        )
    """)
    op.execute("""
        create table units (
            course_version_id uuid not null,
            unit_id uuid not null,
            position integer not null,
            title text not null,
            minutes integer not null,
            objectives jsonb not null,
            text text not null,
            constraint pk_units primary key (course_version_id, unit_id)
        )
    """)
    op.execute("""
        create table facts (
            fact_id uuid constraint pk_facts primary key,
            learner_id uuid not null,
            type text not null,
            subject uuid not null,
            at timestamptz not null,
            data jsonb not null,
            kept_at timestamptz not null
        )
    """)
    op.execute("create index ix_facts_learner_id on facts (learner_id)")
    op.execute("""
        create table order_lines (
            order_line_id uuid constraint pk_order_lines primary key,
            order_id uuid not null,
            position integer not null,
            learner_id uuid not null,
            course_id uuid not null,
            course_version_id uuid not null,
            confirmed_at timestamptz not null,
            heard_at timestamptz not null,
            outcome text,
            reason_code text,
            decided_at timestamptz,
            constraint ck_order_lines_outcome check (outcome in ('activated', 'refused', 'refunded')),
            constraint ck_order_lines_decided check (
                (outcome is null) = (decided_at is null)
                and coalesce(outcome = 'refused', false) = (reason_code is not null)
            )
        )
    """)
    op.execute("create index ix_order_lines_learner_id on order_lines (learner_id)")
    op.execute("create index ix_order_lines_waiting on order_lines (heard_at) where outcome is null")
    op.execute("""
        create table enrolments (
            enrolment_id uuid constraint pk_enrolments primary key,
            learner_id uuid not null constraint fk_enrolments_learner_id_learners references learners,
            course_id uuid not null,
            course_version_id uuid not null
                constraint fk_enrolments_course_version_id_course_versions references course_versions,
            module_family text not null,
            order_id uuid not null,
            order_line_id uuid not null
                constraint uq_enrolments_order_line_id unique
                constraint fk_enrolments_order_line_id_order_lines references order_lines,
            regulations_version text not null,
            status text not null,
            reason_code text,
            sequence integer not null,
            activated_at timestamptz not null,
            changed_at timestamptz not null,
            constraint ck_enrolments_status
                check (status in ('active', 'suspended', 'cancelled', 'completed', 'failed')),
            constraint ck_enrolments_sequence check (sequence >= 1)
        )
    """)
    op.execute("create index ix_enrolments_learner_id on enrolments (learner_id, activated_at, enrolment_id)")
    op.execute("""
        create unique index uq_enrolments_active_course on enrolments (learner_id, course_id)
        where status = 'active'
    """)
    op.execute("""
        create unique index uq_enrolments_active_family on enrolments (learner_id, module_family)
        where status = 'active'
    """)
    op.execute("create index ix_enrolments_suspended on enrolments (changed_at) where status = 'suspended'")
    op.execute("""
        create table enrolment_states (
            enrolment_id uuid not null constraint fk_enrolment_states_enrolment_id_enrolments references enrolments,
            sequence integer not null,
            status text not null,
            reason_code text,
            at timestamptz not null,
            constraint pk_enrolment_states primary key (enrolment_id, sequence)
        )
    """)
    op.execute("""
        create table unit_progress (
            enrolment_id uuid not null constraint fk_unit_progress_enrolment_id_enrolments references enrolments,
            unit_id uuid not null,
            started_at timestamptz not null,
            finished_at timestamptz,
            constraint pk_unit_progress primary key (enrolment_id, unit_id)
        )
    """)
    op.execute("""
        create function refuse_change() returns trigger language plpgsql as $$
        begin
            raise exception '% is append-only', tg_table_name;
        end $$
    """)
    for table in ("facts", "declarations", "enrolment_states", "names"):
        op.execute(f"create trigger append_only before update on {table} for each row execute function refuse_change()")
