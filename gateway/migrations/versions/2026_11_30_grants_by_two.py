"""A role is given by two operators: what one proposed waits for another's word."""

from alembic import op

revision = "gateway_7"
down_revision = "gateway_6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table role_grants (
            grant_id uuid constraint pk_role_grants primary key,
            account_id uuid not null constraint fk_role_grants_account_id_accounts references accounts,
            roles jsonb not null,
            proposed_by uuid not null,
            proposed_at timestamptz not null,
            outcome text
                constraint ck_role_grants_outcome check (outcome in ('confirmed', 'refused', 'replaced', 'void')),
            decided_by uuid,
            decided_at timestamptz,
            constraint ck_role_grants_own_grant check (proposed_by <> account_id),
            constraint ck_role_grants_decided check ((outcome is null) = (decided_at is null)),
            constraint ck_role_grants_two_words check (
                outcome <> 'confirmed' or (decided_by is not null and decided_by not in (proposed_by, account_id))
            )
        )
    """)
    op.execute("create unique index uq_role_grants_waiting on role_grants (account_id) where outcome is null")
    op.execute("create index ix_role_grants_waiting on role_grants (proposed_at, grant_id) where outcome is null")
    op.execute("create index ix_role_grants_proposed_at_grant_id on role_grants (proposed_at, grant_id)")
    op.execute("create index ix_role_grants_account_id on role_grants (account_id, proposed_at, grant_id)")
