"""Nobody holds a role by their own grant; what was granted so ends."""

from alembic import op

revision = "gateway_2"
down_revision = "gateway_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("delete from account_roles where granted_by = account_id::text")
    op.execute("""
        alter table account_roles add constraint ck_account_roles_own_grant check (granted_by <> account_id::text)
    """)
