"""Keep who made whom an operator, also after the role is gone."""

from alembic import op

revision = "gateway_5"
down_revision = "gateway_4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table operator_grants (
            account_id uuid not null,
            granted_by text not null,
            granted_at timestamptz not null,
            primary key (account_id, granted_by)
        )
    """)
    op.execute("""
        insert into operator_grants (account_id, granted_by, granted_at)
        select account_id, granted_by, granted_at from account_roles where role = 'operator'
    """)
