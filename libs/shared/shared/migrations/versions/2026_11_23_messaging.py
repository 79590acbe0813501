"""The messaging tables: outbox, inbox, retries, dead letters, feed positions, idempotency keys, e-mails."""

from alembic import op

revision = "messaging_1"
down_revision = None
branch_labels = ("messaging",)
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table outbox (
            position bigint generated always as identity constraint pk_outbox primary key,
            id uuid not null constraint uq_outbox_id unique,
            type text not null,
            partition_key text not null,
            body text not null,
            created_at timestamptz not null default now(),
            xid xid8 not null default pg_current_xact_id(),
            sent_at timestamptz,
            attempts integer not null default 0,
            next_attempt_at timestamptz not null default now(),
            last_error text
        )
    """)
    op.execute("create index ix_outbox_unsent on outbox (position) where sent_at is null")
    op.execute("create index ix_outbox_feed on outbox (xid, position)")
    op.execute("""
        create table inbox (
            source text not null,
            id uuid not null,
            type text not null,
            body_sha256 bytea not null,
            handled_at timestamptz not null default now(),
            constraint pk_inbox primary key (source, id)
        )
    """)
    op.execute("""
        create table inbox_retry (
            source text not null,
            id uuid not null,
            type text not null,
            body bytea not null,
            attempt integer not null,
            first_failed_at timestamptz not null default now(),
            due_at timestamptz not null,
            waiting boolean not null default false,
            last_error text not null,
            constraint pk_inbox_retry primary key (source, id)
        )
    """)
    op.execute("create index ix_inbox_retry_due_at on inbox_retry (due_at)")
    op.execute("""
        create table parked_messages (
            parked_id uuid constraint pk_parked_messages primary key,
            source text,
            id uuid,
            type text,
            body bytea not null,
            reason text not null,
            error text not null,
            parked_at timestamptz not null default now(),
            resolved_at timestamptz,
            resolution text,
            resolved_by text,
            resolution_reason text,
            constraint ck_parked_messages_resolution check (
                (resolved_at is null) = (resolution is null)
                and (resolved_at is null or (resolved_by is not null and resolution_reason is not null))
            )
        )
    """)
    op.execute("create index ix_parked_messages_open on parked_messages (source, id) where resolved_at is null")
    op.execute("""
        create table feed_positions (
            source text constraint pk_feed_positions primary key,
            cursor text not null,
            read_at timestamptz not null default now()
        )
    """)
    op.execute("""
        create table idempotency_keys (
            caller text not null,
            operation text not null,
            key text not null,
            request_sha256 bytea not null,
            status integer not null,
            headers jsonb not null,
            body bytea not null,
            created_at timestamptz not null default now(),
            constraint pk_idempotency_keys primary key (caller, operation, key)
        )
    """)
    op.execute("create index ix_idempotency_keys_created_at on idempotency_keys (created_at)")
    op.execute("""
        create table letters (
            letter_id uuid constraint pk_letters primary key,
            kind text not null,
            about text not null,
            recipient text not null,
            subject text not null,
            text text not null,
            created_at timestamptz not null default now(),
            due_at timestamptz not null default now(),
            attempts integer not null default 0,
            sent_at timestamptz,
            failed_at timestamptz,
            last_error text,
            constraint uq_letters_kind_about unique (kind, about)
        )
    """)
    op.execute("create index ix_letters_due on letters (due_at) where sent_at is null and failed_at is null")
