"""Who may do what here."""

from shared.access import Access, anyone, owner, staff

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
    "retry_refund": staff("finance"),
    "read_receipt": owner("learner", staff=("finance",)),
    "read_receipt_page": anyone(),  # its address is the proof
    "receive_payment_notification": anyone(),  # its signature says who it is from
    "open_dispute": staff("finance"),
    "close_dispute": staff("finance"),
    "list_disputes": staff("finance"),
    "list_unmatched_payments": staff("finance"),
    "list_refunds": staff("finance"),
    "list_ledger": staff("finance"),
}
