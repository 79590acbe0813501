"""Course versions, briefs, windows, enrolments, attempts, submissions, marks, boards, credits, decisions."""

from alembic import op

revision = "assessment_1"
down_revision = None
branch_labels = ("assessment",)
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table course_versions (
            course_version_id uuid constraint pk_course_versions primary key,
            course_id uuid not null,
            version integer not null,
            code text not null,
            title text not null,
            module_family text not null,
            subject_id uuid not null,
            subject_name text not null,
            credits integer not null,
            level integer not null
        )
    """)
    op.execute("""
        create table briefs (
            course_version_id uuid constraint pk_briefs primary key
                constraint fk_briefs_course_version_id_course_versions references course_versions,
            title text not null,
            task text not null,
            deliverable text not null,
            word_limit integer not null constraint ck_briefs_word_limit check (word_limit > 0),
            criteria jsonb not null,
            updated_at timestamptz not null
        )
    """)
    op.execute("""
        create table windows (
            window_id uuid constraint pk_windows primary key,
            period text constraint uq_windows_period unique,
            opens_at timestamptz not null,
            closes_at timestamptz not null,
            grace_seconds integer not null constraint ck_windows_grace_seconds check (grace_seconds >= 0),
            closed_at timestamptz,
            constraint ck_windows_span check (opens_at < closes_at)
        )
    """)
    op.execute("create index ix_windows_closes_at_window_id on windows (closes_at, window_id)")
    op.execute("create index ix_windows_to_close on windows (closes_at) where closed_at is null")
    op.execute("""
        create table enrolments (
            enrolment_id uuid constraint pk_enrolments primary key,
            learner_id uuid not null,
            course_id uuid not null,
            course_version_id uuid not null
                constraint fk_enrolments_course_version_id_course_versions references course_versions,
            regulations_version text not null,
            activated_at timestamptz not null
        )
    """)
    # Beside the enrolment, not in it: a suspension may be heard before the activation.
    op.execute("""
        create table enrolment_states (
            enrolment_id uuid constraint pk_enrolment_states primary key,
            status text not null
                constraint ck_enrolment_states_status check (status in ('active', 'suspended', 'cancelled')),
            sequence integer not null
        )
    """)
    op.execute("""
        create table boards (
            board_id uuid constraint pk_boards primary key,
            window_id uuid constraint fk_boards_window_id_windows references windows,
            minutes_reference text not null,
            ratified integer not null,
            credits_awarded integer not null,
            held integer not null,
            decided_by text not null,
            decided_at timestamptz not null
        )
    """)
    op.execute("""
        create table attempts (
            attempt_id uuid constraint pk_attempts primary key,
            enrolment_id uuid not null constraint fk_attempts_enrolment_id_enrolments references enrolments,
            learner_id uuid not null,
            course_version_id uuid not null
                constraint fk_attempts_course_version_id_course_versions references course_versions,
            window_id uuid not null constraint fk_attempts_window_id_windows references windows,
            attempt_no integer not null constraint ck_attempts_attempt_no check (attempt_no > 0),
            state text not null constraint ck_attempts_state
                check (state in ('submitted', 'marked', 'released', 'ratified', 'voided')),
            raw_mark numeric,
            mark numeric,
            passed boolean,
            capped boolean,
            feedback text,
            marked_at timestamptz,
            released_at timestamptz,
            ratified_at timestamptz,
            board_id uuid constraint fk_attempts_board_id_boards references boards,
            voided_at timestamptz,
            constraint ck_attempts_marked check (
                state in ('submitted', 'voided')
                or (raw_mark is not null and mark is not null and passed is not null and capped is not null)
            ),
            constraint ck_attempts_released check (state not in ('released', 'ratified') or released_at is not null),
            constraint ck_attempts_ratified check (
                (state = 'ratified') = (ratified_at is not null) and (ratified_at is null) = (board_id is null)
            ),
            constraint ck_attempts_voided check ((state = 'voided') = (voided_at is not null))
        )
    """)
    op.execute("""
        create unique index uq_attempts_enrolment_id_attempt_no on attempts (enrolment_id, attempt_no)
        where state <> 'voided'
    """)
    # A learner has one attempt under way at a time.
    op.execute("""
        create unique index uq_attempts_under_way on attempts (enrolment_id) where state in ('submitted', 'marked')
    """)
    op.execute("create index ix_attempts_enrolment_id on attempts (enrolment_id)")
    op.execute("create index ix_attempts_window_id_state on attempts (window_id, state, attempt_id)")
    op.execute("""
        create table submissions (
            submission_id uuid constraint pk_submissions primary key,
            attempt_id uuid constraint fk_submissions_attempt_id_attempts references attempts,
            enrolment_id uuid not null constraint fk_submissions_enrolment_id_enrolments references enrolments,
            learner_id uuid not null,
            course_version_id uuid not null
                constraint fk_submissions_course_version_id_course_versions references course_versions,
            window_id uuid not null constraint fk_submissions_window_id_windows references windows,
            state text not null constraint ck_submissions_state
                check (state in ('current', 'superseded', 'late', 'voided')),
            storage_key text not null constraint uq_submissions_storage_key unique,
            filename text not null,
            kind text not null,
            media_type text not null,
            size bigint not null,
            sha256 text not null,
            received_at timestamptz not null,
            constraint ck_submissions_late check ((state = 'late') = (attempt_id is null))
        )
    """)
    op.execute("create unique index uq_submissions_current on submissions (attempt_id) where state = 'current'")
    op.execute("create index ix_submissions_enrolment_id on submissions (enrolment_id, received_at, submission_id)")
    op.execute("""
        create index ix_submissions_queue on submissions (received_at, submission_id) where state = 'current'
    """)
    op.execute("""
        create table marks (
            mark_id uuid constraint pk_marks primary key,
            attempt_id uuid not null constraint fk_marks_attempt_id_attempts references attempts,
            submission_id uuid not null constraint fk_marks_submission_id_submissions references submissions,
            stage text not null constraint ck_marks_stage check (stage in ('first', 'moderation')),
            mark numeric not null,
            feedback text not null,
            marked_by text not null,
            marked_at timestamptz not null
        )
    """)
    op.execute("create unique index uq_marks_first on marks (attempt_id) where stage = 'first'")
    op.execute("create index ix_marks_attempt_id on marks (attempt_id)")
    op.execute("""
        create table credits (
            credit_id uuid constraint pk_credits primary key,
            learner_id uuid not null,
            module_family text not null,
            enrolment_id uuid not null constraint fk_credits_enrolment_id_enrolments references enrolments,
            attempt_id uuid not null constraint fk_credits_attempt_id_attempts references attempts,
            board_id uuid not null constraint fk_credits_board_id_boards references boards,
            credits integer not null,
            level integer not null,
            mark numeric not null,
            awarded_at timestamptz not null,
            revoked_at timestamptz,
            revocation_reason text,
            revocation_board_id uuid constraint fk_credits_revocation_board_id_boards references boards,
            constraint uq_credits_learner_id_module_family unique (learner_id, module_family),
            constraint uq_credits_attempt_id unique (attempt_id),
            constraint ck_credits_revoked check (
                (revoked_at is null) = (revocation_reason is null)
                and (revoked_at is null) = (revocation_board_id is null)
            )
        )
    """)
    op.execute("""
        create table decisions (
            decision_id uuid constraint pk_decisions primary key,
            kind text not null,
            subject_id uuid not null,
            actor text not null,
            reason_code text,
            decided_at timestamptz not null,
            details jsonb not null default '{}'
        )
    """)
    op.execute("create index ix_decisions_subject_id on decisions (subject_id)")
    op.execute("""
        create function refuse_change() returns trigger language plpgsql as
        $$ begin raise exception '% is append-only', tg_table_name; end $$
    """)
    for table in ("decisions", "marks"):
        op.execute(f"""
            create trigger {table}_append_only before update or delete or truncate on {table}
            for each statement execute function refuse_change()
        """)
