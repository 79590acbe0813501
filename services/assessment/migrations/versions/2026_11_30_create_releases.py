"""Releases and boards that are worked through in batches: what they are to do, and how far they are."""

from alembic import op

revision = "assessment_7"
down_revision = "assessment_6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table releases (
            release_id uuid constraint pk_releases primary key,
            window_id uuid not null constraint fk_releases_window_id_windows references windows,
            released_by text not null,
            requested_at timestamptz not null,
            expected integer not null,
            released integer not null,
            passed integer not null,
            reached uuid,
            under_way boolean not null
        )
    """)
    op.execute("create unique index uq_releases_under_way on releases (window_id) where under_way")
    op.execute("alter table boards add column expected integer")
    op.execute("alter table boards add column reached uuid")
    op.execute("alter table boards add column under_way boolean not null default false")
    op.execute("create unique index uq_boards_under_way on boards (window_id) where under_way")
