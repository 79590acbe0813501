"""Basket, orders, checkouts, payments, refunds and the ledger."""

from alembic import op

revision = "payments_1"
down_revision = None
branch_labels = ("payments",)
depends_on = None

STATEMENTS = (
    """
    create table basket_items (
        learner_id uuid not null,
        course_id uuid not null,
        added_at timestamptz not null,
        constraint pk_basket_items primary key (learner_id, course_id)
    )
    """,
    """
    create table ended_enrolments (
        enrolment_id uuid not null,
        learner_id uuid not null,
        course_id uuid not null,
        ended_at timestamptz not null,
        constraint pk_ended_enrolments primary key (enrolment_id)
    )
    """,
    """
    create table learners (
        learner_id uuid not null,
        registered_at timestamptz not null,
        constraint pk_learners primary key (learner_id)
    )
    """,
    """
    create table notifications (
        body_sha256 bytea not null,
        provider text not null,
        subject text,
        event_type text,
        event_date timestamptz,
        body bytea,
        received_at timestamptz not null,
        outcome text,
        constraint pk_notifications primary key (body_sha256),
        constraint uq_notifications_provider_subject_event_type_event_date
            unique (provider, subject, event_type, event_date)
    )
    """,
    """
    create table offered_courses (
        course_id uuid not null,
        course_version_id uuid,
        version integer,
        code text,
        title text,
        withdrawn_at timestamptz,
        constraint pk_offered_courses primary key (course_id)
    )
    """,
    """
    create table orders (
        order_id uuid not null,
        learner_id uuid not null,
        status text not null,
        currency text not null,
        placed_at timestamptz not null,
        quote_ends_at timestamptz not null,
        expires_at timestamptz not null,
        regulations_version text not null,
        paid_at timestamptz,
        payer_email text,
        receipt_number text,
        constraint pk_orders primary key (order_id),
        constraint uq_orders_receipt_number unique (receipt_number)
    )
    """,
    "create index ix_orders_learner_id_orders_placed_at on orders (learner_id, placed_at)",
    "create index ix_orders_status_orders_expires_at on orders (status, expires_at)",
    """
    create table prices (
        price_id uuid not null,
        course_id uuid not null,
        amount_minor bigint not null,
        currency text not null,
        valid_from timestamptz not null,
        constraint pk_prices primary key (price_id)
    )
    """,
    "create index ix_prices_course_id_prices_valid_from on prices (course_id, valid_from)",
    """
    create table rejected_notifications (
        body_sha256 bytea not null,
        size integer not null,
        times integer not null,
        first_at timestamptz not null,
        last_at timestamptz not null,
        constraint pk_rejected_notifications primary key (body_sha256)
    )
    """,
    """
    create table unmatched_payments (
        unmatched_id uuid not null,
        provider text not null,
        reference text not null,
        reason text not null,
        external_reference text,
        provider_status text,
        amount_minor bigint,
        currency text,
        first_at timestamptz not null,
        last_at timestamptz not null,
        constraint pk_unmatched_payments primary key (unmatched_id),
        constraint uq_unmatched_payments_provider_reference_reason unique (provider, reference, reason)
    )
    """,
    """
    create table checkout_attempts (
        attempt_id uuid not null,
        order_id uuid not null,
        attempt_no integer not null,
        reference text not null,
        status text not null,
        amount_minor bigint not null,
        currency text not null,
        quote jsonb not null,
        payer_email text not null,
        return_url text not null,
        provider_session text,
        pay_url text,
        session_expires_at timestamptz,
        started_at timestamptz not null,
        ask_at timestamptz,
        close_at timestamptz,
        constraint pk_checkout_attempts primary key (attempt_id),
        constraint uq_checkout_attempts_order_id_attempt_no unique (order_id, attempt_no),
        constraint fk_checkout_attempts_order_id_orders foreign key (order_id) references orders (order_id),
        constraint uq_checkout_attempts_reference unique (reference)
    )
    """,
    "create index ix_checkout_attempts_ask_at on checkout_attempts (ask_at) where ask_at is not null",
    "create index ix_checkout_attempts_close_at on checkout_attempts (close_at) where close_at is not null",
    """
    create table order_lines (
        order_line_id uuid not null,
        order_id uuid not null,
        position integer not null,
        course_id uuid not null,
        course_version_id uuid not null,
        code text not null,
        title text not null,
        list_minor bigint not null,
        discount_minor bigint not null,
        due_minor bigint not null,
        enrolment_id uuid,
        access_at timestamptz,
        constraint pk_order_lines primary key (order_line_id),
        constraint uq_order_lines_order_id_course_id unique (order_id, course_id),
        constraint ck_order_lines_due check (due_minor = list_minor - discount_minor and due_minor >= 0),
        constraint fk_order_lines_order_id_orders foreign key (order_id) references orders (order_id)
    )
    """,
    """
    create table payments (
        payment_id uuid not null,
        provider text not null,
        reference text not null,
        attempt_id uuid not null,
        order_id uuid not null,
        state text not null,
        use text,
        provider_status text not null,
        status_at timestamptz not null,
        revision integer not null,
        amount_minor bigint not null,
        currency text not null,
        method text not null,
        reason_code text not null,
        seen_at timestamptz not null,
        funded_at timestamptz,
        ask_at timestamptz,
        constraint pk_payments primary key (payment_id),
        constraint uq_payments_provider_reference unique (provider, reference),
        constraint fk_payments_attempt_id_checkout_attempts foreign key (attempt_id)
            references checkout_attempts (attempt_id),
        constraint fk_payments_order_id_orders foreign key (order_id) references orders (order_id)
    )
    """,
    "create index ix_payments_ask_at on payments (ask_at) where ask_at is not null",
    "create index ix_payments_order_id on payments (order_id)",
    """
    create table order_confirmations (
        order_id uuid not null,
        payment_id uuid not null,
        confirmed_at timestamptz not null,
        constraint pk_order_confirmations primary key (order_id),
        constraint fk_order_confirmations_order_id_orders foreign key (order_id) references orders (order_id),
        constraint uq_order_confirmations_payment_id unique (payment_id),
        constraint fk_order_confirmations_payment_id_payments foreign key (payment_id)
            references payments (payment_id)
    )
    """,
    """
    create table refunds (
        refund_id uuid not null,
        order_id uuid not null,
        order_line_id uuid,
        payment_id uuid not null,
        learner_id uuid not null,
        amount_minor bigint not null,
        currency text not null,
        reason_code text not null,
        requested_by text not null,
        requested_at timestamptz not null,
        status text not null,
        provider_refund_id text,
        provider_status text,
        status_at timestamptz,
        submitted_at timestamptz,
        ask_at timestamptz,
        completed_at timestamptz,
        failure_code text,
        constraint pk_refunds primary key (refund_id),
        constraint ck_refunds_amount check (amount_minor > 0),
        constraint fk_refunds_order_id_orders foreign key (order_id) references orders (order_id),
        constraint fk_refunds_order_line_id_order_lines foreign key (order_line_id)
            references order_lines (order_line_id),
        constraint fk_refunds_payment_id_payments foreign key (payment_id) references payments (payment_id),
        constraint uq_refunds_provider_refund_id unique (provider_refund_id)
    )
    """,
    "create index ix_refunds_order_id on refunds (order_id)",
    "create index ix_refunds_status_refunds_requested_at on refunds (status, requested_at)",
    "create unique index uq_refunds_active on refunds (payment_id) where status in ('submitting', 'submitted')",
    "create unique index uq_refunds_line on refunds (order_line_id) where order_line_id is not null",
    "create unique index uq_refunds_payment on refunds (payment_id) where order_line_id is null",
    """
    create table ledger_postings (
        posting_no bigint generated always as identity,
        cause text not null,
        kind text not null,
        order_id uuid not null,
        payment_id uuid not null,
        refund_id uuid,
        currency text not null,
        posted_at timestamptz not null,
        constraint pk_ledger_postings primary key (posting_no),
        constraint uq_ledger_postings_cause unique (cause),
        constraint fk_ledger_postings_order_id_orders foreign key (order_id) references orders (order_id),
        constraint fk_ledger_postings_payment_id_payments foreign key (payment_id)
            references payments (payment_id),
        constraint fk_ledger_postings_refund_id_refunds foreign key (refund_id) references refunds (refund_id)
    )
    """,
    "create index ix_ledger_postings_order_id on ledger_postings (order_id)",
    "create index ix_ledger_postings_payment_id on ledger_postings (payment_id)",
    """
    create table ledger_entries (
        posting_no bigint not null,
        account text not null,
        amount_minor bigint not null,
        constraint pk_ledger_entries primary key (posting_no, account),
        constraint fk_ledger_entries_posting_no_ledger_postings foreign key (posting_no)
            references ledger_postings (posting_no)
    )
    """,
    "create sequence receipt_numbers",
    # The books: nothing is changed or removed, and at commit every posting adds up to nothing.
    """
    create function ledger_is_append_only() returns trigger language plpgsql as $$
    begin
        raise exception 'the ledger is append-only; post the opposite instead' using errcode = 'restrict_violation';
    end $$
    """,
    """
    create trigger append_only before update or delete or truncate on ledger_postings
    for each statement execute function ledger_is_append_only()
    """,
    """
    create trigger append_only before update or delete or truncate on ledger_entries
    for each statement execute function ledger_is_append_only()
    """,
    """
    create function ledger_must_balance() returns trigger language plpgsql as $$
    begin
        if (select sum(amount_minor) from ledger_entries where posting_no = new.posting_no) <> 0 then
            raise exception 'posting % does not add up to nothing', new.posting_no using errcode = 'check_violation';
        end if;
        return null;
    end $$
    """,
    """
    create constraint trigger balanced after insert on ledger_entries deferrable initially deferred
    for each row execute function ledger_must_balance()
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
