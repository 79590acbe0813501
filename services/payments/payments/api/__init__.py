"""The HTTP door: basket, orders, checkout, refunds, receipts, the provider's callbacks, and the books."""

from payments.api import (
    basket,
    checkout,
    disputes,
    ledger,
    notifications,
    orders,
    receipts,
    refunds,
    unmatched_payments,
)

routers = [
    basket.router,
    orders.router,
    checkout.router,
    refunds.router,
    notifications.router,
    unmatched_payments.router,
    disputes.router,
    ledger.router,
    receipts.router,
    receipts.astray,
]
