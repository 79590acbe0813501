"""Files on their way into a window."""

from alembic import op

revision = "assessment_12"
down_revision = "assessment_11"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table uploads_under_way (
            upload_id uuid constraint pk_uploads_under_way primary key,
            enrolment_id uuid not null
                constraint fk_uploads_under_way_enrolment_id_enrolments references enrolments,
            window_id uuid not null constraint fk_uploads_under_way_window_id_windows references windows,
            ends_by timestamptz not null
        )
    """)
    op.execute("create index ix_uploads_under_way_enrolment_id on uploads_under_way (enrolment_id)")
    op.execute("create index ix_uploads_under_way_window_id on uploads_under_way (window_id)")
