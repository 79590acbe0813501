"""The primary key of operators' grants is named as all others are."""

from alembic import op

revision = "gateway_8_names"
down_revision = "gateway_7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No statement of ours names it.
    op.execute("""
        -- squawk-ignore renaming-object
        alter table operator_grants rename constraint operator_grants_pkey to pk_operator_grants
    """)
