"""What people and partners send to payments, and what it answers."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from payments.domain.disputes import Outcome
from payments.tables import Refund
from shared.web import LARGEST, Content, Instant, Money, View
from shared.web.content import Text

ID = "01936f2e-8f57-7cc1-9f0b-0d7d6a3c1e01"
EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"


class BasketItemView(View):
    course_id: UUID = Field(examples=[ID])
    title: str | None = Field(examples=["Statistical Inference"])
    code: str | None = Field(examples=["DS01"])
    price: Money | None = Field(description="At this moment; null where the course is not on sale")
    on_sale: bool = Field(examples=[True])
    added_at: Instant


class BasketView(View):
    items: list[BasketItemView]
    totals: list[Money] = Field(description="What is on sale now, summed by currency")


class OrderWish(Content):
    course_ids: list[UUID] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Only these of the basket; all of it by default",
        examples=[[ID]],
    )


class RefundView(View):
    refund_id: UUID = Field(examples=[ID])
    order_line_id: UUID | None = Field(description="Null where a whole payment, or too much of it, goes back")
    amount: Money
    reason_code: str = Field(examples=["cooling_off"])
    status: Literal["requested", "submitting", "submitted", "completed", "failed", "cancelled"] = Field(
        examples=["requested"]
    )
    requested_at: Instant
    completed_at: Instant | None

    @classmethod
    def of(cls, refund: Refund) -> "RefundView":
        return cls.model_validate(
            {
                **{name: getattr(refund, name) for name in cls.model_fields if name != "amount"},
                "amount": Money(amount_minor=refund.amount_minor, currency=refund.currency),
            }
        )


class OrderLineView(View):
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
    refundable_until: Instant | None = Field(description="End of the cooling-off period; null while nothing is paid")
    refund: RefundView | None


class OrderView(View):
    order_id: UUID = Field(examples=[ID])
    status: Literal["placed", "underpaid", "paid", "expired", "cancelled", "reversed"] = Field(examples=["placed"])
    total: Money
    placed_at: Instant
    quote_ends_at: Instant = Field(description="Until then the prices hold whatever the catalogue says")
    expires_at: Instant = Field(description="Until then the order can be paid")
    paid_at: Instant | None
    receipt_number: str | None = Field(examples=["MC-2026-000123"])
    lines: list[OrderLineView]
    returned: list[RefundView] = Field(description="Money that went back without a line: duplicates, overpayment")


class PayerWish(Content):
    email: Text = Field(
        pattern=EMAIL,
        max_length=254,
        description="The confirmation letter goes there",
        examples=["ada.lovelace@example.org"],
    )
    given_name: Text = Field(default="", max_length=100, examples=["Ada"])
    family_name: Text = Field(default="", max_length=100, examples=["Lovelace"])
    country: str = Field(default="GB", pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["GB"])


class CheckoutRequest(Content):
    payer: PayerWish
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


class CheckoutView(View):
    order_id: UUID
    attempt_no: int = Field(examples=[1])
    amount: Money
    pay_url: str = Field(description="Send the payer's browser there", examples=["http://localhost:8006/pay/…"])
    expires_at: Instant | None = Field(description="When the pay page closes")


class ReceiptLine(View):
    code: str = Field(examples=["DS01"])
    title: str = Field(examples=["Statistical Inference"])
    paid: Money
    refunded: Money | None


class ReceiptView(View):
    receipt_number: str = Field(examples=["MC-2026-000123"])
    order_id: UUID
    paid_at: Instant
    method: str = Field(examples=["card"])
    payment_reference: str = Field(examples=["FWU744586810"])
    lines: list[ReceiptLine]
    total: Money
    refunded: Money
    vat_treatment: str = Field(examples=["exempt"])
    vat_reason: str


class NotificationReceipt(View):
    outcome: str = Field(
        description="applied, known, ignored, asking, duplicate, unmatched or not_understood", examples=["applied"]
    )


class UnmatchedPaymentView(View):
    unmatched_id: UUID
    provider: str = Field(examples=["flywire"])
    reference: str = Field(examples=["FWU744586810"])
    reason: str = Field(examples=["unknown_reference"])
    external_reference: str | None
    provider_status: str | None = Field(examples=["guaranteed"])
    amount: Money | None
    first_at: Instant
    last_at: Instant


class DisputeWish(Content):
    order_id: UUID = Field(examples=[ID])
    reason_code: Text = Field(max_length=50, description="As the regulations name them", examples=["not_recognised"])
    case_reference: Text = Field(
        min_length=1, max_length=100, description="The bank's or the provider's", examples=["CB-2026-00017"]
    )


class DisputeClosing(Content):
    outcome: Outcome = Field(description="Lost: the bank took the money back", examples=["won"])


class DisputeView(View):
    dispute_id: UUID = Field(examples=[ID])
    order_id: UUID = Field(examples=[ID])
    learner_id: UUID = Field(examples=[ID])
    reason_code: str = Field(examples=["not_recognised"])
    case_reference: str = Field(examples=["CB-2026-00017"])
    opened_at: Instant
    outcome: Outcome | None = Field(description="Null while it is open", examples=["won"])
    closed_at: Instant | None


class EntryView(View):
    account: str = Field(examples=["sales"])
    amount_minor: int = Field(description="Debits positive, credits negative", examples=[-49500])


class PostingView(View):
    posting_no: int = Field(examples=[1])
    kind: str = Field(examples=["sold"])
    order_id: UUID
    payment_id: UUID
    refund_id: UUID | None
    currency: str = Field(examples=["GBP"])
    posted_at: Instant
    entries: list[EntryView] = Field(description="They add up to nothing")
