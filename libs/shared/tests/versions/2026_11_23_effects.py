"""Tables of the delivery suite's three small services."""

from alembic import op

revision = "effects_1"
down_revision = None
branch_labels = ("effects",)
depends_on = None


def upgrade() -> None:
    # No key but its own: an event that had an effect twice shows as two rows.
    op.execute("""
        create table effects (
            effect_id bigint generated always as identity constraint pk_effects primary key,
            type text not null,
            about uuid not null
        )
    """)
    op.execute("""
        create table refunds (
            refund_id uuid constraint pk_refunds primary key,
            learner_id uuid not null,
            amount_minor integer not null constraint ck_refunds_amount check (amount_minor > 0)
        )
    """)
    op.execute("""
        create table payment_facts (
            order_id uuid not null,
            type text not null,
            constraint pk_payment_facts primary key (order_id, type)
        )
    """)
    op.execute("create table standings (order_id uuid constraint pk_standings primary key, standing text not null)")
