"""Who is affected by regulations before they take effect; rebuilds that somebody signed off."""

from alembic import op

revision = "credentials_11"
down_revision = "credentials_10"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table regulation_reports (
            report_id uuid constraint pk_regulation_reports primary key,
            version text not null,
            document jsonb,
            requested_by uuid not null,
            requested_at timestamptz not null,
            learners integer not null,
            compared integer not null,
            affected integer not null,
            gained jsonb not null,
            lost jsonb not null,
            position uuid,
            finished_at timestamptz
        )
    """)
    op.execute("create index ix_regulation_reports_open on regulation_reports (report_id) where finished_at is null")
    op.execute("""
        create table regulation_report_lines (
            report_id uuid not null constraint fk_regulation_report_lines_report_id_regulation_reports
                references regulation_reports (report_id),
            learner_id uuid not null,
            level text not null,
            gained jsonb not null,
            lost jsonb not null,
            constraint pk_regulation_report_lines primary key (report_id, learner_id, level)
        )
    """)
    op.execute("""
        create table rebuilds (
            rebuild_id uuid constraint pk_rebuilds primary key,
            signed_off_by text not null,
            began_at timestamptz not null,
            finished_at timestamptz not null,
            learners integer not null
        )
    """)
