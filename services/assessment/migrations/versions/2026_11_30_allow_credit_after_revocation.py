"""Credit that was revoked makes room for credit of another pass in the same module."""

from alembic import op

revision = "assessment_11"
down_revision = "assessment_10"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The release before this one shows a credit's module where it was revoked or given back: it has one then.
    op.execute("-- squawk-ignore ban-drop-not-null\nalter table credits alter column module_family drop not null")
    op.execute("alter table credits add column revision integer not null default 0")
    # The table is locked for the moment in any case, and credit without a module cannot be there yet.
    op.execute("""
        alter table credits add constraint ck_credits_module_family
        check (module_family is not null or revoked_at is not null) not valid
    """)
