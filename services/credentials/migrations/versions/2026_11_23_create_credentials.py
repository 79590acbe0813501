"""The credit ledger, awards, and what is issued on them."""

from alembic import op

revision = "credentials_1"
down_revision = None
branch_labels = ("credentials",)
depends_on = None


TABLES = """
create table learners (
    learner_id uuid constraint pk_learners primary key,
    name_version integer not null,
    registered_at timestamptz not null
);
create table achievements (
    achievement_id uuid constraint pk_achievements primary key,
    course_id uuid,
    kind text not null,
    name text not null,
    code text not null,
    description text not null,
    criteria text not null,
    credits integer not null constraint ck_achievements_credits check (credits > 0),
    level integer not null,
    skills jsonb not null
);
create table subject_names (
    subject_id uuid not null,
    effective_from timestamptz not null,
    award_name text not null,
    constraint pk_subject_names primary key (subject_id, effective_from)
);
create table pins (
    enrolment_id uuid constraint pk_pins primary key,
    learner_id uuid not null,
    regulations_version text not null,
    activated_at timestamptz not null
);
create index ix_pins_learner_id on pins (learner_id);
create table results (
    submission_id uuid constraint pk_results primary key,
    enrolment_id uuid not null,
    learner_id uuid not null,
    course_id uuid not null,
    course_version_id uuid not null,
    family text not null,
    mark numeric not null,
    passed boolean not null,
    released_at timestamptz not null
);
create index ix_results_learner_id on results (learner_id);

create table voidings (
    submission_id uuid constraint pk_voidings primary key,
    learner_id uuid not null,
    voided_at timestamptz not null
);
create index ix_voidings_learner_id on voidings (learner_id);
create table credits (
    credit_id uuid constraint pk_credits primary key,
    learner_id uuid not null,
    enrolment_id uuid not null,
    submission_id uuid not null,
    course_id uuid not null,
    course_version_id uuid not null,
    course_code text not null,
    course_title text not null,
    family text not null,
    subject_id uuid not null,
    subject_name text not null,
    credits integer not null constraint ck_credits_credits check (credits > 0),
    level integer not null,
    mark numeric not null,
    attempt_no integer not null,
    source text not null constraint ck_credits_source check (source in ('internal', 'rpl_external')),
    board_id uuid not null,
    regulations_version text not null,
    ratified_at timestamptz not null
);
create index ix_credits_learner_id on credits (learner_id);
create table revocations (
    credit_id uuid constraint pk_revocations primary key,
    learner_id uuid not null,
    reason_code text not null,
    board_id uuid not null,
    revoked_at timestamptz not null
);
create index ix_revocations_learner_id on revocations (learner_id);
create table payments (
    order_id uuid constraint pk_payments primary key,
    learner_id uuid not null,
    reversed_at timestamptz,
    settled_at timestamptz
);
create index ix_payments_reversed on payments (learner_id) where reversed_at is not null;
create table awards (
    award_id uuid constraint pk_awards primary key,
    learner_id uuid not null,
    level text not null,
    title text not null,
    rule text not null,
    reason text not null,
    regulations_version text not null,
    credits integer not null,
    mean text,
    mark integer,
    classification text not null,
    state text not null constraint ck_awards_state
        check (state in ('claimed', 'lapsed', 'conferred', 'superseded', 'rescinded')),
    claimed_at timestamptz not null,
    reserved_until timestamptz not null,
    conferred_at timestamptz,
    conferred_by text,
    certificate_number text constraint uq_awards_certificate_number unique,
    superseded_by uuid constraint fk_awards_superseded_by_awards references awards (award_id),
    superseded_at timestamptz,
    under_review_since timestamptz,
    constraint ck_awards_conferred check (
        (state in ('conferred', 'superseded', 'rescinded'))
        = (conferred_at is not null and certificate_number is not null)
    ),
    constraint ck_awards_superseded check ((state = 'superseded') = (superseded_by is not null))
);
create index ix_awards_learner_id on awards (learner_id);
create index ix_awards_reserved_until on awards (reserved_until) where state = 'claimed';
create table allocations (
    award_id uuid not null constraint fk_allocations_award_id_awards references awards (award_id),
    credit_id uuid not null constraint fk_allocations_credit_id_credits references credits (credit_id),
    level text not null,
    live boolean not null,
    constraint pk_allocations primary key (award_id, credit_id)
);
create unique index uq_allocations_credit_id_level on allocations (credit_id, level) where live;
create table status_lists (
    number integer constraint pk_status_lists primary key,
    document bytea,
    revoked integer not null default 0,
    signed_at timestamptz,
    valid_until timestamptz
);
insert into status_lists (number) values (1);
create table badges (
    badge_id uuid constraint pk_badges primary key,
    learner_id uuid not null,
    achievement_id uuid not null,
    credit_id uuid constraint uq_badges_credit_id unique
        constraint fk_badges_credit_id_credits references credits (credit_id),
    award_id uuid constraint uq_badges_award_id unique
        constraint fk_badges_award_id_awards references awards (award_id),
    subject text not null,
    list_number integer not null
        constraint fk_badges_list_number_status_lists references status_lists (number),
    list_index integer not null,
    awarded_at timestamptz not null,
    document jsonb,
    issued_at timestamptz,
    revoked_at timestamptz,
    constraint uq_badges_list_number_list_index unique (list_number, list_index),
    constraint ck_badges_of check ((credit_id is null) <> (award_id is null)),
    constraint ck_badges_issued check ((document is null) = (issued_at is null))
);
create index ix_badges_learner_id on badges (learner_id);
create index ix_badges_unsigned on badges (badge_id) where document is null and revoked_at is null;
create index ix_badges_revoked on badges (list_number) where revoked_at is not null;
create table transcripts (
    transcript_id uuid constraint pk_transcripts primary key,
    learner_id uuid not null,
    version integer not null,
    document jsonb not null,
    content_sha256 text not null,
    sha256 text not null,
    as_at timestamptz not null,
    constraint uq_transcripts_learner_id_version unique (learner_id, version)
);
create table eligibilities (
    learner_id uuid constraint pk_eligibilities primary key,
    sequence integer not null,
    titles jsonb not null
);
create table signing_keys (
    verification_method text constraint pk_signing_keys primary key,
    did text not null,
    suite text not null,
    public_key bytea not null,
    wrapped_key bytea not null,
    state text not null constraint ck_signing_keys_state check (state in ('active', 'retired')),
    created_at timestamptz not null
);
create unique index uq_signing_keys_did on signing_keys (did) where state = 'active';
"""

# Facts are never changed: what no longer holds is a new fact (a revocation).
REFUSE_CHANGE = """
create function refuse_change() returns trigger language plpgsql as
$$ begin raise exception '% is append-only', tg_table_name; end $$
"""


def upgrade() -> None:
    for statement in filter(str.strip, TABLES.split(";")):  # the driver takes one at a time
        op.execute(statement)
    op.execute(REFUSE_CHANGE)
    for table in ("credits", "revocations", "transcripts"):
        op.execute(
            f"create trigger tr_{table}_append_only before update or delete on {table} "
            "for each row execute function refuse_change()"
        )
