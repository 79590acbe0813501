"""The installation's id, which the database and its file store carry."""

from alembic import op

revision = "messaging_5"
down_revision = "messaging_4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table installation (
            only_one boolean constraint pk_installation primary key default true
                constraint ck_installation_only_one check (only_one),
            installation_id uuid not null
        )
    """)
    op.execute("insert into installation (installation_id) values (gen_random_uuid())")
