"""Misconduct cases, and the attempts they freeze."""

from alembic import op

revision = "assessment_2"
down_revision = "assessment_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table misconduct_cases (
            case_id uuid constraint pk_misconduct_cases primary key,
            attempt_id uuid not null constraint fk_misconduct_cases_attempt_id_attempts references attempts,
            submission_id uuid not null constraint fk_misconduct_cases_submission_id_submissions references submissions,
            enrolment_id uuid not null constraint fk_misconduct_cases_enrolment_id_enrolments references enrolments,
            learner_id uuid not null,
            attempt_no integer not null,
            reason_code text not null,
            opened_by text not null,
            opened_at timestamptz not null,
            outcome text constraint ck_misconduct_cases_outcome
                check (outcome in ('no_case', 'resubmit', 'mark_zero', 'credit_revoked')),
            minutes_reference text,
            decided_by text,
            decided_at timestamptz,
            constraint ck_misconduct_cases_decided check (
                (decided_at is null) = (outcome is null) and (decided_at is null) = (minutes_reference is null)
            )
        )
    """)
    op.execute("create unique index uq_misconduct_cases_open on misconduct_cases (attempt_id) where decided_at is null")
    op.execute("create index ix_misconduct_cases_opened_at_case_id on misconduct_cases (opened_at, case_id)")
    # Without a foreign key: it would be checked against every attempt while the table is locked.
    op.execute("alter table attempts add column case_id uuid")
