"""Who may do what here."""

from payments.domain.orders import OwnOrder
from shared.access import Access, Own, anyone, owner, staff

ACCESS: Access = {
    "read_basket": owner("learner"),
    "put_basket_item": owner("learner"),
    "remove_basket_item": owner("learner"),
    "place_order": owner("learner"),
    "list_orders": owner("learner"),
    "read_order": owner("learner", staff=("finance", "advisor")),
    "cancel_order": owner("learner"),
    "start_checkout": owner("learner"),
    "request_refund": owner("learner"),
    "grant_refund": staff("finance", own=OwnOrder),
    "retry_refund": staff("finance", own=OwnOrder),
    "read_receipt": owner("learner", staff=("finance",)),
    "read_receipt_page": anyone(),  # its address is the proof
    "receive_payment_notification": anyone(),  # its signature says who it is from
    "open_dispute": staff("finance", own=OwnOrder),
    "close_dispute": staff("finance", own=OwnOrder),
    "list_disputes": staff("finance", own=Own.SEEN),
    "list_unmatched_payments": staff("finance", own=Own.SEEN),
    "close_unmatched_payment": staff("finance", own=OwnOrder),
    "list_refunds": staff("finance", own=Own.SEEN),
    "list_ledger": staff("finance", own=Own.SEEN),
}
