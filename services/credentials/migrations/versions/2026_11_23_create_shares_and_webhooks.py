"""Links and consents, who looked, and partners with the addresses they want to be told at."""

from alembic import op

revision = "credentials_6"
down_revision = "credentials_5"
branch_labels = None
depends_on = None


TABLES = """
create table partners (
    client_id text constraint pk_partners primary key,
    name text not null,
    scopes jsonb not null,
    registered_at timestamptz not null,
    closed_at timestamptz
);
create table shares (
    share_id uuid constraint pk_shares primary key,
    learner_id uuid not null,
    client_id text constraint fk_shares_client_id_partners references partners (client_id),
    recipient text not null,
    purpose text not null,
    scope jsonb not null,
    secret_sha256 bytea constraint uq_shares_secret_sha256 unique,
    pin_hash bytea,
    wrong_pins integer not null default 0,
    locked_at timestamptz,
    most_views integer,
    views integer not null default 0,
    granted_at timestamptz not null,
    expires_at timestamptz not null,
    redeemed_at timestamptz,
    withdrawn_at timestamptz,
    constraint ck_shares_views check (most_views is null or views <= most_views),
    constraint ck_shares_link check (
        client_id is null or (pin_hash is null and most_views is null and locked_at is null)
    )
);
create index ix_shares_learner_id on shares (learner_id);
create index ix_shares_client_id on shares (client_id) where client_id is not null;
create table viewings (
    viewing_id uuid constraint pk_viewings primary key,
    share_id uuid not null constraint fk_viewings_share_id_shares references shares (share_id),
    viewed_at timestamptz not null,
    viewer text not null constraint ck_viewings_viewer check (viewer in ('link', 'partner')),
    sha256 text not null
);
create index ix_viewings_share_id on viewings (share_id);
create table webhook_endpoints (
    endpoint_id uuid constraint pk_webhook_endpoints primary key,
    client_id text not null constraint fk_webhook_endpoints_client_id_partners references partners (client_id),
    url text not null,
    contact_email text not null,
    created_at timestamptz not null,
    failing_since timestamptz,
    disabled_at timestamptz,
    disabled_reason text,
    removed_at timestamptz,
    constraint ck_webhook_endpoints_disabled check ((disabled_at is null) = (disabled_reason is null))
);
create index ix_webhook_endpoints_client_id on webhook_endpoints (client_id);
create table webhook_secrets (
    secret_id uuid constraint pk_webhook_secrets primary key,
    endpoint_id uuid not null constraint fk_webhook_secrets_endpoint_id_webhook_endpoints
        references webhook_endpoints (endpoint_id),
    wrapped bytea not null,
    created_at timestamptz not null,
    expires_at timestamptz
);
create index ix_webhook_secrets_endpoint_id on webhook_secrets (endpoint_id);
create table webhook_deliveries (
    delivery_id uuid constraint pk_webhook_deliveries primary key,
    endpoint_id uuid not null constraint fk_webhook_deliveries_endpoint_id_webhook_endpoints
        references webhook_endpoints (endpoint_id),
    event_id uuid not null,
    type text not null,
    payload text not null,
    state text not null constraint ck_webhook_deliveries_state check (state in ('pending', 'delivered', 'failed')),
    created_at timestamptz not null,
    due_at timestamptz not null,
    tries integer not null default 0,
    settled_at timestamptz,
    constraint uq_webhook_deliveries_endpoint_id_event_id unique (endpoint_id, event_id),
    constraint ck_webhook_deliveries_settled check ((state = 'pending') = (settled_at is null))
);
create index ix_webhook_deliveries_due_at on webhook_deliveries (due_at) where state = 'pending';
create table webhook_attempts (
    attempt_id uuid constraint pk_webhook_attempts primary key,
    delivery_id uuid not null constraint fk_webhook_attempts_delivery_id_webhook_deliveries
        references webhook_deliveries (delivery_id),
    attempted_at timestamptz not null,
    milliseconds integer not null,
    status integer,
    response text not null,
    error text
);
create index ix_webhook_attempts_delivery_id on webhook_attempts (delivery_id);
create table webhook_positions (
    name text constraint pk_webhook_positions primary key,
    cursor text not null
);
"""


def upgrade() -> None:
    for statement in filter(str.strip, TABLES.split(";")):  # the driver takes one at a time
        op.execute(statement)
    op.execute(
        "create trigger tr_viewings_append_only before update or delete on viewings "
        "for each row execute function refuse_change()"
    )
