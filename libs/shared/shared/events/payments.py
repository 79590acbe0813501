"""What payments announces. Amounts are integer minor units of `currency`."""

from uuid import UUID

from shared.events.base import Event, Fact, Instant


class Line(Fact):
    order_line_id: UUID
    course_id: UUID
    course_version_id: UUID
    list_minor: int
    discount_minor: int = 0
    due_minor: int


class OrderPlaced(Event, type="payments.order.placed.v1", subject="order_id"):
    """A learner ordered courses; the prices hold until `expires_at`."""

    order_id: UUID
    learner_id: UUID
    lines: tuple[Line, ...]
    currency: str
    expires_at: Instant
    placed_at: Instant


class OrderExpired(Event, type="payments.order.expired.v1", subject="order_id"):
    """Nobody paid the order in time."""

    order_id: UUID
    learner_id: UUID
    expired_at: Instant


class OrderCancelled(Event, type="payments.order.cancelled.v1", subject="order_id"):
    """The learner left it before it was paid, or its courses were bought by an order that a late payment paid."""

    order_id: UUID
    learner_id: UUID
    cancelled_at: Instant


class CheckoutStarted(Event, type="payments.checkout.started.v1", subject="attempt_id"):
    """The provider has opened a session in which the order can be paid; another may follow it."""

    attempt_id: UUID
    order_id: UUID
    learner_id: UUID
    attempt_no: int
    provider: str
    started_at: Instant


class PaymentConfirmed(Event, type="payments.payment.confirmed.v1", subject="order_id", consumers=("enrolment",)):
    """The money is certain enough to give access. Once per order, ever."""

    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    amount_minor: int
    currency: str
    method: str
    lines: tuple[Line, ...]
    confirmed_at: Instant


class ReceiptIssued(Event, type="payments.receipt.issued.v1", subject="order_id"):
    """A paid order has its numbered receipt, which shows what was paid and how VAT is treated. Once per order."""

    order_id: UUID
    learner_id: UUID
    number: str
    amount_minor: int
    currency: str
    vat_treatment: str
    issued_at: Instant


class PaymentSettled(
    Event, type="payments.payment.settled.v1", subject="order_id", consumers=("enrolment", "credentials")
):
    """The provider has paid out; from now on a refund can be asked of it."""

    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    settled_at: Instant


class PaymentFailed(Event, type="payments.payment.failed.v1", subject="order_id"):
    """An attempt to pay has failed for good; the order can still be paid until it expires."""

    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    reason_code: str
    failed_at: Instant


class PaymentReversed(
    Event, type="payments.payment.reversed.v1", subject="order_id", consumers=("enrolment", "credentials")
):
    """Confirmed money is gone again."""

    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    reason_code: str
    lines: tuple[Line, ...]
    reversed_at: Instant


class PaymentRestored(
    Event, type="payments.payment.restored.v1", subject="order_id", consumers=("enrolment", "credentials")
):
    """Money that was reversed is there again, or another payment came in its place, which this then names. The
    confirmation is not said a second time."""

    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    restored_at: Instant


class DisputeOpened(Event, type="payments.dispute.opened.v1", subject="dispute_id", consumers=("enrolment",)):
    """The payer asks their bank for the money back; finance entered it. While it is about the payment that pays the
    order, the enrolments are suspended until it is closed, and nothing is claimed."""

    dispute_id: UUID
    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    reason_code: str
    opened_at: Instant


class DisputeClosed(Event, type="payments.dispute.closed.v1", subject="dispute_id", consumers=("enrolment",)):
    """outcome: won and withdrawn leave the money here; lost took it away, which PaymentReversed announces besides."""

    dispute_id: UUID
    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    outcome: str
    closed_at: Instant


class DuplicateDetected(Event, type="payments.payment.duplicate-detected.v1", subject="order_id"):
    """A second payment arrived for a paid order; it goes back whole."""

    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    amount_minor: int
    currency: str
    detected_at: Instant


class AmountMismatch(Event, type="payments.payment.amount-mismatch.v1", subject="order_id"):
    """Another sum was paid than was due. Less: no access. More: access, and the difference goes back.

    `currency` is that of the sum paid. An amount that changes after the money was used is announced too: finance sees
    to it.
    """

    order_id: UUID
    payment_id: UUID
    learner_id: UUID
    expected_minor: int
    received_minor: int
    currency: str
    expected_currency: str | None = None
    detected_at: Instant


class RefundRequested(Event, type="payments.refund.requested.v1", subject="refund_id", consumers=("enrolment",)):
    """Access to the line ends now, whenever the provider pays back. Of a payment that is lost nothing goes back unless
    it comes again; then this is announced once more.

    reason_code: cooling_off, activation_impossible, already_bought, goodwill, complaint; the last two are granted by
    staff (`decided_by`), also after a result was ratified. Money returned without a line (a duplicate, an overpayment)
    has no `order_line_id`, and no enrolment hangs on it.
    """

    refund_id: UUID
    order_id: UUID
    order_line_id: UUID | None = None
    course_id: UUID | None = None
    learner_id: UUID
    amount_minor: int
    currency: str
    reason_code: str
    decided_by: str | None = None
    requested_at: Instant


class RefundSubmitted(Event, type="payments.refund.submitted.v1", subject="refund_id"):
    """The provider has taken it in hand. One that failed and is sent again is submitted again."""

    refund_id: UUID
    order_id: UUID
    order_line_id: UUID | None = None
    learner_id: UUID
    amount_minor: int
    currency: str
    submitted_at: Instant


class RefundCompleted(Event, type="payments.refund.completed.v1", subject="refund_id"):
    """The provider says that the money has gone back."""

    refund_id: UUID
    order_id: UUID
    order_line_id: UUID | None = None
    learner_id: UUID
    amount_minor: int
    currency: str
    completed_at: Instant


class RefundFailed(Event, type="payments.refund.failed.v1", subject="refund_id"):
    """The provider refused, or nothing is seen of what was sent; a person sees to it."""

    refund_id: UUID
    order_id: UUID
    order_line_id: UUID | None = None
    learner_id: UUID
    reason_code: str
    failed_at: Instant
