"""Award names are unique as people see them; courses are found and ordered without regard to accents."""

from alembic import op

revision = "catalogue_5"
down_revision = "catalogue_4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create extension if not exists unaccent")
    # Immutable, so that the planner knows the words: unaccent itself is not, since its dictionary could be replaced.
    op.execute("""
        create function without_accents(words text) returns text language sql immutable strict parallel safe
        return unaccent('unaccent'::regdictionary, words)
    """)
    op.execute("alter table subjects add column award_key text")
    # Where two look the same already, the first keeps its key.
    op.execute("""
        update subjects set award_key = first.key from (
            select distinct on (key) key, subject_id from (
                select lower(normalize(award_name, nfkc)) as key, subject_id, created_at from subjects
            ) keyed order by key, created_at, subject_id
        ) first where first.subject_id = subjects.subject_id
    """)
    op.execute("create unique index uq_subjects_award_key on subjects (award_key)")
    op.execute("update subjects set renewed_up_to = '00000000-0000-0000-0000-000000000000'")
