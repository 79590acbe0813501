"""Badges in versions, each with its own place in a status list; keys with a life; every signature on record."""

from alembic import op

revision = "credentials_7"
down_revision = "credentials_6"
branch_labels = None
depends_on = None


# One statement at a time, in this order: the driver takes no more, and what is new for all rows comes before its use.
STATEMENTS = """
create table badge_places (
    list_number integer not null
        constraint fk_badge_places_list_number_status_lists references status_lists (number),
    list_index integer not null,
    badge_id uuid not null,
    version integer not null,
    retired_at timestamptz,
    constraint pk_badge_places primary key (list_number, list_index),
    constraint uq_badge_places_badge_id_version unique (badge_id, version)
);
create index ix_badge_places_retired on badge_places (list_number) where retired_at is not null;
insert into badge_places (list_number, list_index, badge_id, version)
    select list_number, list_index, badge_id, 1 from badges;

alter table badges
    add column version integer not null default 1,
    add column due text constraint ck_badges_due
        check (due in ('issue', 'correction', 'erasure', 'compromise')),
    add column token text,
    add column signed_with text,
    add column token_signed_with text,
    add column signed_at timestamptz;
update badges set due = 'issue' where document is null;
update badges set
    signed_with = document -> 'proof' -> 0 ->> 'verificationMethod',
    signed_at = issued_at
    where document is not null;
alter table badges alter column due set default 'issue';
create index ix_badges_due on badges (badge_id) where due is not null;
create index ix_badges_signed_with on badges (signed_with);
create index ix_badges_token_signed_with on badges (token_signed_with);
create unique index uq_badges_live_credit_id on badges (credit_id) where revoked_at is null;
create unique index uq_badges_live_award_id on badges (award_id) where revoked_at is null;
-- Loosened, not missed: credit given back gets another badge, and of the live ones there is one, as before.
-- squawk-ignore ban-drop-constraint
alter table badges drop constraint uq_badges_credit_id;
-- squawk-ignore ban-drop-constraint
alter table badges drop constraint uq_badges_award_id;
create index ix_badges_credit_id on badges (credit_id);

alter table status_lists add column signed_with text;

alter table signing_keys
    add column activated_at timestamptz,
    add column retired_at timestamptz,
    add column compromised_at timestamptz;
update signing_keys set activated_at = created_at;
-- A handful of rows, all of them in states that the wider check allows as well.
-- squawk-ignore ban-drop-constraint
alter table signing_keys drop constraint ck_signing_keys_state;
alter table signing_keys add constraint ck_signing_keys_state
    check (state in ('next', 'active', 'retired', 'compromised')) not valid;
create unique index uq_signing_keys_did_suite on signing_keys (did, suite, state) where state in ('next', 'active');
-- squawk-ignore require-concurrent-index-deletion
drop index uq_signing_keys_did;

create table key_events (
    event_id uuid constraint pk_key_events primary key,
    verification_method text not null,
    state text not null,
    by text not null,
    reason text not null,
    at timestamptz not null
);
create index ix_key_events_verification_method on key_events (verification_method);
create table signatures (
    signature_sha256 bytea constraint pk_signatures primary key,
    verification_method text not null,
    credential_id text not null,
    signed_at timestamptz not null
);
create index ix_signatures_credential_id on signatures (credential_id)
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";"):
        op.execute(statement)
    for table in ("key_events", "signatures"):
        op.execute(
            f"create trigger tr_{table}_append_only before update or delete on {table} "
            "for each row execute function refuse_change()"
        )
