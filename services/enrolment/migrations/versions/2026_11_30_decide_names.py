"""Names change by a registrar's decision on evidence, addresses by a code; how a name is written on certificates."""

from alembic import op

revision = "enrolment_3"
down_revision = "enrolment_2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table names add column certificate_name text, add column decided_in uuid")
    op.execute("alter table learners add column documented_at timestamptz")
    op.execute("""
        create table name_requests (
            request_id uuid constraint pk_name_requests primary key,
            learner_id uuid not null constraint fk_name_requests_learner_id_learners references learners,
            family_name text not null,
            given_name text,
            certificate_name text,
            statement text not null,
            state text not null constraint ck_name_requests_state
                check (state in ('draft', 'submitted', 'approved', 'refused', 'withdrawn')),
            created_at timestamptz not null,
            submitted_at timestamptz,
            decided_at timestamptz,
            decided_by text,
            reason text,
            constraint ck_name_requests_decided check (
                (state in ('approved', 'refused')) = (decided_at is not null)
                and (decided_at is null) = (decided_by is null)
            ),
            constraint ck_name_requests_own check (decided_by <> learner_id::text)
        )
    """)
    op.execute("""
        create unique index uq_name_requests_open on name_requests (learner_id)
        where state in ('draft', 'submitted')
    """)
    op.execute("create index ix_name_requests_learner_id on name_requests (learner_id, request_id)")
    op.execute("create index ix_name_requests_state on name_requests (state, request_id)")
    op.execute("""
        create table name_evidence (
            evidence_id uuid constraint pk_name_evidence primary key,
            request_id uuid not null constraint fk_name_evidence_request_id_name_requests references name_requests,
            learner_id uuid not null,
            filename text not null,
            media_type text not null,
            size bigint not null,
            sha256 text not null,
            storage_key text not null constraint uq_name_evidence_storage_key unique,
            received_at timestamptz not null
        )
    """)
    op.execute("create index ix_name_evidence_request_id on name_evidence (request_id)")
    op.execute("create index ix_name_evidence_learner_id on name_evidence (learner_id)")
    op.execute("""
        create table contact_changes (
            learner_id uuid constraint pk_contact_changes primary key
                constraint fk_contact_changes_learner_id_learners references learners,
            contact_email text,
            code_digest bytea,
            asked_at timestamptz not null,
            letters integer not null,
            counted_since timestamptz not null
        )
    """)
