"""The tables of payments: columns and constraints, no behaviour."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Sequence,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


RECEIPT_NUMBERS = Sequence("receipt_numbers", metadata=Base.metadata)


def _one(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, unique=True, postgresql_where=text(where))


class OfferedCourse(Base):
    """Our copy of a course that the catalogue offers. Its withdrawal may arrive before the course itself."""

    __tablename__ = "offered_courses"

    course_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_version_id: Mapped[UUID | None]
    version: Mapped[int | None]
    code: Mapped[str | None]
    title: Mapped[str | None]
    published_at: Mapped[datetime | None]
    """None where the release that stored this version did not keep it."""
    withdrawn_at: Mapped[datetime | None]


class Price(Base):
    """The price of a course from an instant on."""

    __tablename__ = "prices"
    __table_args__ = (Index(None, "course_id", "valid_from"),)

    price_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    valid_from: Mapped[datetime]
    set_by: Mapped[str | None]
    """The account of the editor."""


class Learner(Base):
    """A learner who has registered, and so may order."""

    __tablename__ = "learners"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    registered_at: Mapped[datetime]
    anonymised_at: Mapped[datetime | None]
    """Nothing personal is kept of them; orders and the books stay."""


class BegunEnrolment(Base):
    """An enrolment, as enrolment announced it, whether or not the order line it was opened for is known here: a
    database that was put back has forgotten the orders that are younger than its copy."""

    __tablename__ = "begun_enrolments"
    __table_args__ = (Index(None, "learner_id", "course_id"),)

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    order_id: Mapped[UUID]
    order_line_id: Mapped[UUID]
    begun_at: Mapped[datetime]


class EndedEnrolment(Base):
    """An enrolment that was cancelled or failed: its course may be bought again."""

    __tablename__ = "ended_enrolments"

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    ended_at: Mapped[datetime]


class ContestedCredit(Base):
    """Credit that was revoked, and may have been given back: while it is revoked its course may be bought again."""

    __tablename__ = "contested_credits"
    __table_args__ = (Index(None, "enrolment_id"),)

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    enrolment_id: Mapped[UUID]
    revoked: Mapped[bool]
    revision: Mapped[int]


class RatifiedResult(Base):
    """An enrolment of which a board ratified a result; `passed` is null where a former release noted it."""

    __tablename__ = "ratified_results"

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    passed: Mapped[bool | None]


class BasketItem(Base):
    """A course that a learner means to buy."""

    __tablename__ = "basket_items"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID] = mapped_column(primary_key=True)
    added_at: Mapped[datetime]


class Order(Base):
    """Courses that are bought together; its lines hold their prices. `status` is an OrderStatus."""

    __tablename__ = "orders"
    __table_args__ = (Index(None, "learner_id", "placed_at"), Index(None, "status", "expires_at"))

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    status: Mapped[str]
    currency: Mapped[str]
    placed_at: Mapped[datetime]
    quote_ends_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    regulations_version: Mapped[str]
    paid_at: Mapped[datetime | None]
    payer_email: Mapped[str | None]
    receipt_number: Mapped[str | None] = mapped_column(unique=True)
    announced_at: Mapped[datetime | None] = mapped_column("told_at", key="announced_at")
    """The last instant at which it was announced where the order's money is."""


class OrderLine(Base):
    """One course of an order, at its price; `enrolment_id` once it is activated."""

    __tablename__ = "order_lines"
    __table_args__ = (
        UniqueConstraint("order_id", "course_id"),
        CheckConstraint("due_minor = list_minor - discount_minor and due_minor >= 0", name="due"),
    )

    order_line_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.order_id))
    position: Mapped[int]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID]
    code: Mapped[str]
    title: Mapped[str]
    list_minor: Mapped[int] = mapped_column(BigInteger)
    discount_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    due_minor: Mapped[int] = mapped_column(BigInteger)
    enrolment_id: Mapped[UUID | None]
    access_at: Mapped[datetime | None]


class CheckoutAttempt(Base):
    """One checkout session at the provider. It is stored before the provider is asked, as a call that timed out may
    have made it.

    `quote` is the list price by line that the payer was shown; `payer_email` is empty once the learner is anonymised.
    """

    __tablename__ = "checkout_attempts"
    __table_args__ = (
        UniqueConstraint("order_id", "attempt_no"),
        _one("uq_checkout_attempts_session", "provider_session", where="provider_session is not null"),
        Index(None, "ask_at", postgresql_where=text("ask_at is not null")),
        Index(None, "close_at", postgresql_where=text("close_at is not null")),
    )

    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.order_id))
    attempt_no: Mapped[int]
    reference: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    quote: Mapped[dict[str, int]] = mapped_column(JSONB)
    payer_email: Mapped[str]
    return_url: Mapped[str]
    provider_session: Mapped[str | None]
    pay_url: Mapped[str | None]
    session_expires_at: Mapped[datetime | None]
    started_at: Mapped[datetime]
    ask_at: Mapped[datetime | None]
    close_at: Mapped[datetime | None]


class Payment(Base):
    """A payment at the provider, under its reference. `revision` counts applied facts."""

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("provider", "reference"),
        Index(None, "order_id"),
        Index(None, "ask_at", postgresql_where=text("ask_at is not null")),
        Index(None, "funded_at", postgresql_where=text("use = 'underpaid'")),
        Index(None, "seen_at", "payment_id"),
    )

    payment_id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str]
    reference: Mapped[str]
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey(CheckoutAttempt.attempt_id))
    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.order_id))
    state: Mapped[str]
    use: Mapped[str | None]
    provider_status: Mapped[str]
    status_at: Mapped[datetime]
    revision: Mapped[int]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    method: Mapped[str]
    reason_code: Mapped[str]
    seen_at: Mapped[datetime]
    funded_at: Mapped[datetime | None]
    ask_at: Mapped[datetime | None]
    compared_at: Mapped[datetime | None]
    """The beginning of the last comparison in which the provider's list had it."""


class Confirmation(Base):
    """The payment that pays an order: another one after the first was taken back. One row an order, ever: this is what
    makes PaymentConfirmed unique."""

    __tablename__ = "order_confirmations"

    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.order_id), primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(Payment.payment_id), unique=True)
    confirmed_at: Mapped[datetime]


class Notification(Base):
    """A signed callback, raw. The provider gives no event id: the same bytes, or the same event, are a repetition."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("provider", "subject", "event_type", "event_date"),
        Index("ix_notifications_kept", "received_at", "body_sha256", postgresql_where=text("body is not null")),
    )

    body_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    provider: Mapped[str]
    subject: Mapped[str | None]
    event_type: Mapped[str | None]
    event_date: Mapped[datetime | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    received_at: Mapped[datetime]
    outcome: Mapped[str | None]


class RejectedNotification(Base):
    """A callback that was not signed with a secret of ours. Its body is neither read nor kept."""

    __tablename__ = "rejected_notifications"
    __table_args__ = (Index(None, "last_at"),)

    body_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    size: Mapped[int]
    times: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class UnmatchedPayment(Base):
    """Something the provider reports that we cannot place, or that needs a decision. Finance is shown it until it ends
    by itself, or one of them closes it with a note."""

    __tablename__ = "unmatched_payments"
    __table_args__ = (
        UniqueConstraint("provider", "reference", "reason"),
        Index(None, "first_at", "unmatched_id"),
        Index("ix_unmatched_payments_open", "first_at", "unmatched_id", postgresql_where=text("ended_at is null")),
        Index("ix_unmatched_payments_ended", "first_at", "unmatched_id", postgresql_where=text("ended_at is not null")),
    )

    unmatched_id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str]
    reference: Mapped[str]
    reason: Mapped[str]
    external_reference: Mapped[str | None]
    provider_status: Mapped[str | None]
    amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None]
    order_id: Mapped[UUID | None]
    payment_id: Mapped[UUID | None]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
    """Who closed it; None where it ended by itself."""
    note: Mapped[str | None]
    not_ours: Mapped[bool] = mapped_column(server_default="false", default=False)
    """Finance has said that this refund paid none of ours: nothing waits for it."""


class Refund(Base):
    """Money that goes back, for a line once, or for a payment that pays for nothing once for a reason. It is cancelled
    where the payment was lost, and the line may be owed from another payment.

    `revision` counts what changed it; `provider_refund_id` is the last of those the provider made for it.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount"),
        _one("uq_refunds_line_alive", "order_line_id", where="order_line_id is not null and status <> 'cancelled'"),
        _one("uq_refunds_line_payment", "order_line_id", "payment_id", where="order_line_id is not null"),
        _one("uq_refunds_payment_reason", "payment_id", "reason_code", where="order_line_id is null"),
        Index("ix_refunds_delayed", "requested_at", "refund_id", postgresql_where=text("delayed_since is not null")),
        _one("uq_refunds_active", "payment_id", where="status in ('submitting', 'submitted')"),
        Index(None, "status", "requested_at"),
        Index(None, "order_id"),
        Index(None, "learner_id"),
        Index(None, "provider_refund_id"),
        Index(None, "ask_at", postgresql_where=text("ask_at is not null")),
    )

    refund_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.order_id))
    order_line_id: Mapped[UUID | None] = mapped_column(ForeignKey(OrderLine.order_line_id))
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(Payment.payment_id))
    learner_id: Mapped[UUID]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    reason_code: Mapped[str]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime]
    status: Mapped[str]
    provider_refund_id: Mapped[str | None]
    provider_status: Mapped[str | None]
    status_at: Mapped[datetime | None]
    submitted_at: Mapped[datetime | None]
    """When it was sent, while nothing is known of what came of it."""
    delayed_since: Mapped[datetime | None]
    """Since when the provider lacks it, or does not say that it has it, though its turn has come or should have."""
    ask_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    failure_code: Mapped[str | None]
    revision: Mapped[int] = mapped_column(server_default="0", default=0)


class ProviderRefund(Base):
    """What a refund that the provider made pays of one of ours: another for ours only where one came to nothing,
    another of the same only where it was made by hand for several."""

    __tablename__ = "provider_refunds"
    __table_args__ = (
        Index(None, "refund_id"),
        _one("uq_provider_refunds_whole", "provider_refund_id", where="share_minor is null"),
    )

    provider_refund_id: Mapped[str] = mapped_column(primary_key=True)
    refund_id: Mapped[UUID] = mapped_column(ForeignKey(Refund.refund_id), primary_key=True)
    status: Mapped[str]
    status_at: Mapped[datetime]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    share_minor: Mapped[int | None] = mapped_column(BigInteger)
    """How much finance said to be owed of ours; the rest was not. None where the provider's is all of ours."""
    currency: Mapped[str | None]
    """None where the provider named none: that of the payment."""
    received_at: Mapped[datetime] = mapped_column("heard_at", key="received_at")
    revived_at: Mapped[datetime | None]
    """When it was resumed after it had ended, or was sent back; or first reported while ours was not being sent."""


class Dispute(Base):
    """A payer's claim on their bank, as finance entered it. While it is open, its payment is not refunded; what becomes
    of it concerns no other payment. Of those about one payment that are closed, the one closed last counts."""

    __tablename__ = "disputes"
    __table_args__ = (
        CheckConstraint("(closed_at is null) = (outcome is null)", name="closed"),
        Index("uq_disputes_open", "payment_id", unique=True, postgresql_where=text("closed_at is null")),
        Index(None, "opened_at", "dispute_id"),
        Index(None, "payment_id", "closed_at"),
        Index("ix_disputes_waiting", "opened_at", "dispute_id", postgresql_where=text("closed_at is null")),
    )

    dispute_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.order_id))
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(Payment.payment_id))
    learner_id: Mapped[UUID]
    reason_code: Mapped[str]
    case_reference: Mapped[str]
    """The bank's reference of the case, or the provider's."""
    opened_by: Mapped[str]
    opened_at: Mapped[datetime]
    outcome: Mapped[str | None]
    closed_by: Mapped[str | None]
    closed_at: Mapped[datetime | None]


class Posting(Base):
    """One posting in the ledger; its entries add up to zero (checked by the database at commit)."""

    __tablename__ = "ledger_postings"
    __table_args__ = (Index(None, "payment_id"), Index(None, "order_id"))

    posting_no: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    cause: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.order_id))
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(Payment.payment_id))
    refund_id: Mapped[UUID | None] = mapped_column(ForeignKey(Refund.refund_id))
    currency: Mapped[str]
    posted_at: Mapped[datetime]


class Entry(Base):
    """The amount that a posting moves on one account: debits are positive, credits negative."""

    __tablename__ = "ledger_entries"

    posting_no: Mapped[int] = mapped_column(ForeignKey(Posting.posting_no), primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)


class Comparison(Base):
    """How far the provider's list was compared with the books: a run that was broken off goes on where it stood."""

    __tablename__ = "comparisons"

    provider: Mapped[str] = mapped_column(primary_key=True)
    began_at: Mapped[datetime]
    since: Mapped[datetime]
    """What was created since then is compared."""
    stage: Mapped[str]
    page: Mapped[int]
    finished_at: Mapped[datetime | None]
