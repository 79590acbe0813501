"""Whoever keeps ready-made answers in memory is told when a listing or a price changed."""

from alembic import op

revision = "catalogue_2"
down_revision = "catalogue_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In the transaction: it is delivered with the commit. Editors write rarely, so its cost does not matter.
    op.execute("""
        create function notify_change() returns trigger language plpgsql as $$
        begin
            notify catalogue;
            return null;
        end $$
    """)
    for table in ("listings", "prices"):
        op.execute(f"""
            create trigger notify_change after insert or update or delete on {table}
            for each statement execute function notify_change()
        """)
