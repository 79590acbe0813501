"""Accounts, sign-ins, signing keys and partners."""

from alembic import op

revision = "gateway_1"
down_revision = None
branch_labels = ("gateway",)
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table accounts (
            account_id uuid constraint pk_accounts primary key,
            email text not null,
            email_key text not null constraint uq_accounts_email_key unique,
            password_hash text,
            opened_at timestamptz not null,
            closed_at timestamptz
        )
    """)
    op.execute("""
        create table account_roles (
            account_id uuid not null constraint fk_account_roles_account_id_accounts references accounts,
            role text not null,
            granted_at timestamptz not null,
            granted_by text not null,
            constraint pk_account_roles primary key (account_id, role)
        )
    """)
    op.execute("create index ix_account_roles_role on account_roles (role)")
    op.execute("""
        create table external_identities (
            issuer text not null,
            subject text not null,
            account_id uuid not null constraint fk_external_identities_account_id_accounts references accounts,
            linked_at timestamptz not null,
            constraint pk_external_identities primary key (issuer, subject)
        )
    """)
    op.execute("""
        create table sign_ins (
            sign_in_id uuid constraint pk_sign_ins primary key,
            account_id uuid not null constraint fk_sign_ins_account_id_accounts references accounts,
            opened_at timestamptz not null,
            expires_at timestamptz not null,
            ended_at timestamptz,
            end_reason text,
            constraint ck_sign_ins_end check ((ended_at is null) = (end_reason is null))
        )
    """)
    op.execute("create index ix_sign_ins_account_id on sign_ins (account_id)")
    op.execute("create index ix_sign_ins_expires_at on sign_ins (expires_at)")
    op.execute("""
        create table refresh_tokens (
            token_sha256 bytea constraint pk_refresh_tokens primary key,
            sign_in_id uuid not null
                constraint fk_refresh_tokens_sign_in_id_sign_ins references sign_ins on delete cascade,
            issued_at timestamptz not null,
            superseded_at timestamptz
        )
    """)
    op.execute("create index ix_refresh_tokens_sign_in_id on refresh_tokens (sign_in_id)")
    op.execute("""
        create table signing_keys (
            kid text constraint pk_signing_keys primary key,
            state text not null constraint ck_signing_keys_state check (state in ('next', 'active', 'retired')),
            public_jwk jsonb not null,
            sealed_private bytea not null,
            created_at timestamptz not null,
            activated_at timestamptz,
            retired_at timestamptz,
            withdrawn_at timestamptz,
            constraint ck_signing_keys_retired check ((state = 'retired') = (retired_at is not null))
        )
    """)
    op.execute("create unique index uq_signing_keys_one_each on signing_keys (state) where state <> 'retired'")
    op.execute("""
        create table partners (
            client_id text constraint pk_partners primary key,
            name text not null,
            scopes jsonb not null,
            registered_at timestamptz not null,
            closed_at timestamptz
        )
    """)
    op.execute("""
        create table partner_secrets (
            secret_sha256 bytea constraint pk_partner_secrets primary key,
            client_id text not null constraint fk_partner_secrets_client_id_partners references partners,
            prefix text not null,
            created_at timestamptz not null,
            withdrawn_at timestamptz
        )
    """)
    op.execute("create index ix_partner_secrets_client_id on partner_secrets (client_id)")
