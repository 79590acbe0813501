"""Leases: who holds one, and until when; they replace advisory locks of the server's."""

from alembic import op

revision = "messaging_13_turns"
down_revision = "messaging_12_lost_history"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table turns (
            name text not null,
            holder uuid not null,
            until timestamptz not null,
            constraint pk_turns primary key (name)
        )
    """)
