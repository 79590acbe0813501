"""Lists are paged by an index, also narrowed ones; listings of a renamed subject are renewed some at a time."""

from alembic import op

revision = "catalogue_4"
down_revision = "catalogue_3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create index ix_listings_kind on listings (subject, institution, level, sort_title, course_id) where on_sale
    """)
    op.execute("""
        create index ix_listings_title on listings using gin (to_tsvector('english', sort_title)) where on_sale
    """)
    op.execute("create index ix_prices_valid_from on prices (valid_from)")
    op.execute("create index ix_course_versions_subject_id_course_id on course_versions (subject_id, course_id)")
    op.execute("alter table subjects add column renewed_up_to uuid")
    op.execute("create index ix_subjects_to_renew on subjects (subject_id) where renewed_up_to is not null")
    # Until now a renaming could write an older state of a course over a newer one: all are made anew once.
    op.execute("update subjects set renewed_up_to = '00000000-0000-0000-0000-000000000000'")
