"""Learner records have places in status lists, among those of badges: no place is given twice."""

from alembic import op

revision = "credentials_16"
down_revision = "credentials_15"
branch_labels = None
depends_on = None


# Places of records have no badge. The release before joins by badge or reads what is retired, and writes badges' alone.
STATEMENTS = """
-- squawk-ignore ban-drop-not-null
alter table badge_places alter column badge_id drop not null;
-- squawk-ignore ban-drop-not-null
alter table badge_places alter column version drop not null;
alter table badge_places
    add column edition_id uuid,
    add column record_id uuid,
    add column inside_sha256 text;
alter table badge_places add constraint fk_badge_places_edition_id_editions
    foreign key (edition_id) references editions (edition_id) not valid;
alter table badge_places add constraint ck_badge_places_of
    check ((badge_id is null) = (version is null) and (badge_id is null) = (edition_id is not null)
        and (edition_id is null) = (record_id is null) and (edition_id is null) = (inside_sha256 is null)) not valid;
-- squawk-ignore require-concurrent-index-creation
create unique index uq_badge_places_live_record on badge_places (edition_id, record_id) where retired_at is null
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
