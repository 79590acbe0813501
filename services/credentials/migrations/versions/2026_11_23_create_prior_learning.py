"""Applications to have credit from elsewhere recognised, and their evidence."""

from alembic import op

revision = "credentials_14"
down_revision = "credentials_13"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table recognitions (
            recognition_id uuid constraint pk_recognitions primary key,
            learner_id uuid not null,
            institution text not null,
            title text not null,
            credits_claimed integer not null constraint ck_recognitions_credits check (credits_claimed > 0),
            level_claimed integer not null,
            completed_on date not null,
            statement text not null,
            state text not null constraint ck_recognitions_state check (
                state in ('draft', 'submitted', 'recognised', 'refused', 'withdrawn', 'revoked')
            ),
            created_at timestamptz not null,
            submitted_at timestamptz,
            decided_at timestamptz,
            decided_by text,
            reason_code text,
            reason text,
            revoked_at timestamptz,
            constraint ck_recognitions_decided check (
                (state in ('recognised', 'refused', 'revoked'))
                = (decided_at is not null and decided_by is not null and reason_code is not null)
            )
        )
    """)
    op.execute("create index ix_recognitions_learner_id on recognitions (learner_id)")
    op.execute("create index ix_recognitions_submitted on recognitions (recognition_id) where state = 'submitted'")
    op.execute("""
        create table evidence (
            evidence_id uuid constraint pk_evidence primary key,
            recognition_id uuid not null constraint fk_evidence_recognition_id_recognitions
                references recognitions (recognition_id),
            learner_id uuid not null,
            filename text not null,
            media_type text not null,
            size bigint not null,
            sha256 text not null,
            storage_key text not null constraint uq_evidence_storage_key unique,
            received_at timestamptz not null,
            constraint uq_evidence_recognition_id_sha256 unique (recognition_id, sha256)
        )
    """)
