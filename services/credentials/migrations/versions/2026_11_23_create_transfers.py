"""Credit on its way into degrees elsewhere, in the same places that awards take up."""

from alembic import op

revision = "credentials_13"
down_revision = "credentials_12"
branch_labels = None
depends_on = None


TABLES = """
create table programmes (
    programme_id uuid constraint pk_programmes primary key,
    version integer not null,
    client_id text not null,
    institution text not null,
    code text not null,
    title text not null,
    ceiling_credits integer not null,
    modules jsonb not null,
    published_at timestamptz not null
);
create table transfers (
    transfer_id uuid constraint pk_transfers primary key,
    learner_id uuid not null,
    client_id text not null constraint fk_transfers_client_id_partners references partners (client_id),
    programme_id uuid not null constraint fk_transfers_programme_id_programmes references programmes (programme_id),
    share_id uuid not null constraint uq_transfers_share_id unique
        constraint fk_transfers_share_id_shares references shares (share_id),
    state text not null constraint ck_transfers_state check (
        state in ('requested', 'accepted', 'refused', 'completed', 'returned', 'withdrawn', 'lapsed')
    ),
    requested_at timestamptz not null,
    decide_by timestamptz not null,
    decided_at timestamptz,
    decided_by text,
    accepted_until timestamptz,
    closed_at timestamptz,
    closed_reason text,
    constraint ck_transfers_accepted check (
        (state in ('accepted', 'completed', 'returned')) = (accepted_until is not null)
    )
);
create index ix_transfers_learner_id on transfers (learner_id);
create index ix_transfers_client_id on transfers (client_id);
create unique index uq_transfers_learner_id_programme_id on transfers (learner_id, programme_id)
    where state = 'requested';
create index ix_transfers_open on transfers (decide_by) where state in ('requested', 'accepted');
create table transfer_lines (
    transfer_id uuid not null constraint fk_transfer_lines_transfer_id_transfers references transfers (transfer_id),
    credit_id uuid not null constraint fk_transfer_lines_credit_id_credits references credits (credit_id),
    state text not null constraint ck_transfer_lines_state check (
        state in ('requested', 'committed', 'refused', 'consumed', 'returned', 'ended')
    ),
    outcome text constraint ck_transfer_lines_outcome check (outcome in ('accept', 'partial', 'refuse')),
    credits_recognised integer,
    module_code text,
    reason_code text,
    reason text,
    constraint pk_transfer_lines primary key (transfer_id, credit_id),
    constraint ck_transfer_lines_decided check ((outcome is null) = (reason_code is null))
);
create unique index uq_transfer_lines_credit_id on transfer_lines (credit_id)
    where state in ('committed', 'consumed');
"""

# A transfer takes a credit's place at every level: the one index that lets a credit stand once a level keeps awards
# and transfers apart. So an allocation belongs to an award or to a transfer. The table has a few rows a learner.
ALLOCATIONS = """
alter table allocations add column transfer_id uuid;
alter table allocations add constraint fk_allocations_transfer_id_transfers
    foreign key (transfer_id) references transfers (transfer_id) not valid;
-- squawk-ignore ban-drop-constraint
alter table allocations drop constraint pk_allocations;
-- squawk-ignore adding-field-with-default, adding-serial-primary-key-field
alter table allocations add column allocation_id uuid not null default gen_random_uuid()
    constraint pk_allocations primary key;
-- squawk-ignore require-concurrent-index-creation
create unique index uq_allocations_award_id_credit_id on allocations (award_id, credit_id);
-- squawk-ignore ban-drop-not-null
alter table allocations alter column award_id drop not null;
alter table allocations add constraint ck_allocations_of check ((award_id is null) <> (transfer_id is null)) not valid;
create index ix_allocations_transfer_id on allocations (transfer_id) where transfer_id is not null
"""


def upgrade() -> None:
    for statement in filter(str.strip, (TABLES + ALLOCATIONS).split(";")):  # the driver takes one at a time
        op.execute(statement)
