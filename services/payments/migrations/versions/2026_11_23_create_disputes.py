"""Disputes that finance enters."""

from alembic import op

revision = "payments_2"
down_revision = "payments_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table disputes (
            dispute_id uuid not null,
            order_id uuid not null,
            payment_id uuid not null,
            learner_id uuid not null,
            reason_code text not null,
            case_reference text not null,
            opened_by text not null,
            opened_at timestamptz not null,
            outcome text,
            closed_by text,
            closed_at timestamptz,
            constraint pk_disputes primary key (dispute_id),
            constraint ck_disputes_closed check ((closed_at is null) = (outcome is null)),
            constraint fk_disputes_order_id_orders foreign key (order_id) references orders (order_id),
            constraint fk_disputes_payment_id_payments foreign key (payment_id) references payments (payment_id)
        )
    """)
    op.execute("create unique index uq_disputes_open on disputes (payment_id) where closed_at is null")
    op.execute("create index ix_disputes_opened_at_disputes_dispute_id on disputes (opened_at, dispute_id)")
