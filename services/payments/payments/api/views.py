"""What people and partners send to payments, and what it answers."""

from typing import Final, Literal
from uuid import UUID

from pydantic import Field, model_validator

from payments.domain.disputes import DisputeOutcome
from payments.domain.payments import FUNDED, State
from payments.domain.refunds import MEANINGS as STATUS_MEANINGS
from payments.domain.refunds import NOT_WITH_PROVIDER
from payments.domain.unmatched import ENDED_BY, MEANINGS, Why
from payments.tables import Payment, Refund
from shared.web import LARGEST, Instant, Money, RequestModel, View
from shared.web.content import Email, Text

ID = "01936f2e-8f57-7cc1-9f0b-0d7d6a3c1e01"


class BasketItemView(View):
    """A course in the basket, at its price of this moment."""

    course_id: UUID = Field(examples=[ID])
    title: str | None = Field(examples=["Statistical Inference"])
    code: str | None = Field(examples=["DS01"])
    price: Money | None = Field(description="At this moment; null where the course is not on sale")
    on_sale: bool = Field(examples=[True])
    added_at: Instant


class BasketView(View):
    """What a learner means to buy."""

    items: list[BasketItemView]
    totals: list[Money] = Field(description="What is on sale now, summed by currency")


class OrderRequest(RequestModel):
    """Which courses are ordered."""

    course_ids: list[UUID] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Only these of the basket; all of it by default",
        examples=[[ID]],
    )


class RefundGrant(RequestModel):
    """Why finance gives a refund that nobody has a right to."""

    reason_code: Literal["goodwill", "complaint"] = Field(examples=["complaint"])


class RefundView(View):
    """Money that goes back, or went."""

    refund_id: UUID = Field(examples=[ID])
    order_line_id: UUID | None = Field(description="Null where a whole payment, or too much of it, goes back")
    amount: Money
    reason_code: str = Field(examples=["cooling_off"])
    status: Literal["requested", "submitting", "submitted", "completed", "returned", "failed", "cancelled"] = Field(
        description="What each means:\n"
        + "\n".join(f"- `{status}`: {text}." for status, text in STATUS_MEANINGS.items()),
        examples=["requested"],
    )
    requested_at: Instant
    delayed_since: Instant | None = Field(
        default=None,
        description="Since when it is held back though its turn has come, whatever the reason: the provider cannot be "
        "reached, or has not said what came of it; something about its payment is looked into first, as a refund that "
        "was made by hand; or another refund of its payment is delayed. Null otherwise",
    )
    completed_at: Instant | None

    @classmethod
    def of(cls, refund: Refund) -> "RefundView":
        return cls.model_validate(
            {
                **{name: getattr(refund, name) for name in cls.model_fields if hasattr(refund, name)},
                "amount": Money(amount_minor=refund.amount_minor, currency=refund.currency),
                "delayed_since": refund.delayed_since if refund.status in NOT_WITH_PROVIDER else None,
            }
        )


class OrderLineView(View):
    """One course of an order: its price, the access it gave, and its refund."""

    order_line_id: UUID = Field(examples=[ID])
    course_id: UUID
    course_version_id: UUID
    code: str = Field(examples=["DS01"])
    title: str = Field(examples=["Statistical Inference"])
    list_price: Money
    discount: Money
    due: Money
    enrolment_id: UUID | None = Field(description="Once enrolment has opened access")
    access_at: Instant | None
    refundable_until: Instant | None = Field(
        description="End of the cooling-off period; null while nothing is paid, and once a result was ratified"
    )
    result_ratified: bool = Field(description="A board has ratified a result: only staff decide on a refund")
    refund: RefundView | None


class OrderPaymentView(View):
    """A payment towards an order, and what became of the money."""

    reference: str = Field(description="The provider's", examples=["FWU744586810"])
    method: str = Field(examples=["card"])
    amount: Money
    status: Literal["under_way", "declined", "received", "paid_out", "lost"] = Field(
        description="under_way: a bank transfer, or a card being looked at; declined: nothing was charged, pay again; "
        "received and paid_out: the money is there; lost: it was there and was taken back",
        examples=["received"],
    )
    use: Literal["order", "duplicate", "underpaid", "late"] | None = Field(
        description="What became of the money: it paid the order, or goes back (at once, or for too little after a "
        "while). Null while there is none"
    )
    reason_code: str = Field(description="Why it was declined or lost, where the provider says so")
    seen_at: Instant

    @classmethod
    def of(cls, payment: Payment) -> "OrderPaymentView":
        return cls.model_validate(
            {
                **{name: getattr(payment, name) for name in cls.model_fields if name not in {"amount", "status"}},
                "amount": Money(amount_minor=payment.amount_minor, currency=payment.currency),
                "status": _status_of(payment),
            }
        )


def _status_of(payment: Payment) -> str:
    """One of nothing may still become something until it is paid out."""
    state = State(payment.state)
    if state in FUNDED and payment.amount_minor == 0:
        state = State.FAILED_ATTEMPT if state is State.SETTLED else State.CAPTURING
    return _PAYMENT_STATUS[state]


_PAYMENT_STATUS: Final = {
    State.AWAITING_FUNDS: "under_way",
    State.CAPTURING: "under_way",
    State.CONFIRMED: "received",
    State.SETTLED: "paid_out",
    State.FAILED_ATTEMPT: "declined",
    State.LOST: "lost",
}


class OrderView(View):
    """An order with its lines, payments and refunds."""

    order_id: UUID = Field(examples=[ID])
    status: Literal[
        "placed", "underpaid", "paid", "partly_refunded", "refunded", "expired", "cancelled", "reversed"
    ] = Field(
        description="refunded: all that was paid has gone back; reversed: the payment was taken back from us. What was "
        "tried and did not succeed stands in `payments`",
        examples=["placed"],
    )
    total: Money
    placed_at: Instant
    quote_ends_at: Instant = Field(description="Until then the prices hold whatever the catalogue says")
    expires_at: Instant = Field(
        description="Until then the order can be paid, or be paid again where its payment was taken back"
    )
    paid_at: Instant | None
    receipt_number: str | None = Field(examples=["MC-2026-000123"])
    lines: list[OrderLineView]
    returned: list[RefundView] = Field(description="Money that went back without a line: duplicates, overpayment")
    payments: list[OrderPaymentView] = Field(description="What was paid or tried, the oldest first")
    unreadable: int = Field(
        default=0,
        description="How many more refunds and payments of this order cannot be shown, for this release does not "
        "understand them or they are damaged; 0 as a rule. Where there are any, what has gone back may be more than "
        "`status` and `lines` say, and the receipt is refused",
        examples=[0],
    )


class PayerRequest(RequestModel):
    """Who pays, as the provider and the confirmation name them."""

    email: Email = Field(description="The confirmation is e-mailed there", examples=["ada.lovelace@example.org"])
    given_name: Text = Field(default="", max_length=200, examples=["Ada"])
    family_name: Text = Field(default="", max_length=200, examples=["Lovelace"])
    country: str = Field(default="GB", pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["GB"])


class CheckoutRequest(RequestModel):
    """What is needed to open a pay page for an order."""

    payer: PayerRequest
    return_url: str | None = Field(
        default=None,
        max_length=2000,
        description="Where the pay page sends the payer back to; an allowed origin",
        examples=["http://localhost:8000/"],
    )
    accepted_total: int | None = Field(
        default=None,
        ge=0,
        le=LARGEST,
        description="In minor units: after 409 price_changed, the `current` total the payer agrees to",
        examples=[59500],
    )
    pay_beside_payment_under_way: bool = Field(
        default=False,
        description="After 409 payment_under_way: that one will not be made. Should both come, the second goes back",
    )


class CheckoutView(View):
    """A pay page at the provider."""

    order_id: UUID
    attempt_no: int = Field(examples=[1])
    amount: Money
    pay_url: str = Field(description="Send the payer's browser there", examples=["http://localhost:8006/pay/…"])
    expires_at: Instant | None = Field(description="When the pay page closes")


class ReceiptLine(View):
    """What was paid for one course of a receipt, and what has gone back."""

    code: str = Field(examples=["DS01"])
    title: str = Field(examples=["Statistical Inference"])
    paid: Money
    refunded: Money | None = Field(description="What has gone back; null where nothing has")


class ReceiptView(View):
    """The numbered paper of what was paid."""

    receipt_number: str = Field(examples=["MC-2026-000123"])
    order_id: UUID
    status: Literal["paid", "partly_refunded", "refunded", "reversed"] = Field(
        description="reversed: the payment was taken back, and this receipt proves none", examples=["paid"]
    )
    seller: str = Field(description="Who sold it", examples=["Northbridge University, 1 Bridge Road, Northbridge"])
    payer_email: str | None = Field(
        description="Whom the receipt was sent to; none once the learner is anonymised", examples=["ada@example.org"]
    )
    paid_at: Instant
    method: str = Field(examples=["card"])
    payment_reference: str = Field(examples=["FWU744586810"])
    lines: list[ReceiptLine]
    total: Money
    refunded: Money = Field(description="What has gone back of it; not what is asked for, or failed")
    vat_treatment: str = Field(examples=["exempt"])
    vat_reason: str


class NotificationReceipt(View):
    """What became of a callback of the provider."""

    outcome: str = Field(
        description="applied, known, ignored, asking, not_known_yet, duplicate, unmatched or not_understood",
        examples=["applied"],
    )


class UnmatchedPaymentView(View):
    """Money or a word of the provider that finance has to look at."""

    unmatched_id: UUID
    provider: str = Field(examples=["flywire"])
    reference: str = Field(examples=["FWU744586810"])
    reason: Why = Field(
        description="What each means, what finance does, and what it ends by:\n"
        + "\n".join(
            f"- `{why}`: {meaning}. {todo[0].upper()}{todo[1:]}. Ends by itself once {ENDED_BY[why]}."
            for why, (meaning, todo) in MEANINGS.items()
        ),
        examples=["unknown_reference"],
    )
    external_reference: str | None = Field(
        description="The reference of ours that the provider has of it; where a refund at the provider paid twice, or "
        "in part, what is owed, the refunds of ours of which it is so, with a comma between"
    )
    provider_status: str | None = Field(examples=["guaranteed"])
    amount: Money | None
    order_id: UUID | None
    payment_id: UUID | None
    first_at: Instant
    last_at: Instant
    ended_at: Instant | None = Field(description="Null while finance has to look at it")
    note: str | None = Field(
        description="Of who closed it; null where it ended by itself", examples=["Paid by bank transfer, see CB-17"]
    )
    ended_by: str | None = Field(description="Who closed it; null while it is open, or where it ended by itself")
    not_ours: bool = Field(description="Finance has said that this refund paid none of ours")


class PaidRefund(RequestModel):
    """A refund of ours that a refund made by hand paid, or a part of it."""

    refund_id: UUID = Field(examples=[ID])
    amount_minor: int | None = Field(
        default=None,
        ge=1,
        le=LARGEST,
        description="How much of it, in minor units; by default all that is neither paid of it nor being paid, as far "
        "as the refund at the provider goes",
        examples=[49500],
    )


class UnmatchedPaymentClosure(RequestModel):
    """What finance found out, for the record."""

    note: Text = Field(min_length=1, max_length=1000, examples=["Paid by bank transfer, see CB-17"])
    paid: list[PaidRefund] = Field(
        default=[],
        max_length=50,
        description="Of an unknown refund: the refunds of ours that it paid, all of one payment",
    )
    not_owed_minor: int = Field(
        default=0,
        ge=0,
        le=LARGEST,
        description="How much of it, in minor units, is beyond what was owed of those: a loss, until it comes back",
        examples=[0],
    )
    not_ours: bool = Field(default=False, description="An unknown refund paid none of ours; others are sent beside it")

    @model_validator(mode="after")
    def _names_each_once(self) -> "UnmatchedPaymentClosure":
        if len({one.refund_id for one in self.paid}) < len(self.paid):
            raise ValueError("name each refund in `paid` once")
        if self.not_owed_minor and not self.paid:
            raise ValueError("`not_owed_minor` is what is beyond the refunds in `paid`")
        return self


class DisputeRequest(RequestModel):
    """A dispute that a payer's bank opened, as finance enters it."""

    order_id: UUID = Field(examples=[ID])
    payment_reference: Text | None = Field(
        default=None,
        max_length=100,
        description="The provider's, of the disputed payment, whatever became of its money; by default the one that "
        "pays the order",
        examples=["FWU744586810"],
    )
    reason_code: Text = Field(max_length=50, description="As the regulations name them", examples=["not_recognised"])
    case_reference: Text = Field(
        min_length=1, max_length=100, description="The bank's or the provider's", examples=["CB-2026-00017"]
    )


class DisputeClosingRequest(RequestModel):
    """How the bank decided a dispute."""

    outcome: DisputeOutcome = Field(description="Lost: the bank took the money back", examples=["won"])


class DisputeView(View):
    """A payer's bank asks for a payment back: which and why, since when, and how it ended."""

    dispute_id: UUID = Field(examples=[ID])
    order_id: UUID = Field(examples=[ID])
    payment_reference: str = Field(description="The provider's", examples=["FWU744586810"])
    learner_id: UUID = Field(examples=[ID])
    reason_code: str = Field(examples=["not_recognised"])
    case_reference: str = Field(examples=["CB-2026-00017"])
    opened_at: Instant
    outcome: DisputeOutcome | None = Field(description="Null while it is open", examples=["won"])
    closed_at: Instant | None


class EntryView(View):
    """One account's part of a posting."""

    account: str = Field(examples=["sales"])
    amount_minor: int = Field(description="Debits positive, credits negative", examples=[-49500])


class PostingView(View):
    """A balanced posting of the double-entry books."""

    posting_no: int = Field(examples=[1])
    kind: str = Field(examples=["sold"])
    order_id: UUID
    payment_id: UUID
    refund_id: UUID | None
    currency: str = Field(examples=["GBP"])
    posted_at: Instant
    entries: list[EntryView] = Field(description="They add up to nothing")
