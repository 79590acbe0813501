"""Every refund the provider made for one of ours is kept, and what finance must place names order and payment."""

from alembic import op

revision = "payments_4"
down_revision = "payments_3"
branch_labels = None
depends_on = None

STATEMENTS = (
    "alter table refunds add column revision integer not null default 0",
    """
    create table provider_refunds (
        provider_refund_id text not null,
        refund_id uuid not null,
        status text not null,
        status_at timestamptz not null,
        amount_minor bigint not null,
        heard_at timestamptz not null,
        revived_at timestamptz,
        constraint pk_provider_refunds primary key (provider_refund_id),
        constraint fk_provider_refunds_refund_id_refunds foreign key (refund_id) references refunds (refund_id)
    )
    """,
    "create index ix_provider_refunds_refund_id on provider_refunds (refund_id)",
    """
    insert into provider_refunds (provider_refund_id, refund_id, status, status_at, amount_minor, heard_at)
    select provider_refund_id, refund_id, coalesce(provider_status, 'initiated'), coalesce(status_at, requested_at),
        amount_minor, coalesce(submitted_at, requested_at)
    from refunds where provider_refund_id is not null
    """,
    "alter table unmatched_payments add column order_id uuid",
    "alter table unmatched_payments add column payment_id uuid",
    "create index ix_payments_funded_at on payments (funded_at) where use = 'underpaid'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
