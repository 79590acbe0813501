"""Double entry: every posting adds up to nothing. Debits are positive, credits negative, in minor units."""

from collections.abc import Mapping
from enum import StrEnum


class Account(StrEnum):
    PROVIDER = "provider_receivable"
    """What the provider holds for us."""
    CASH = "cash"
    SALES = "sales"
    REFUNDS = "refund_liability"
    """What we owe to payers."""
    UNAPPLIED = "unapplied"
    """Money that pays for nothing yet."""
    LOSSES = "losses"


Entries = Mapping[Account, int]


def sold(received: int, due: int) -> Entries:
    """A confirmed payment; what exceeds the price is owed back."""
    return {Account.PROVIDER: received, Account.SALES: -due, Account.REFUNDS: due - received}


def held(received: int) -> Entries:
    return {Account.PROVIDER: received, Account.UNAPPLIED: -received}


def owed_back(received: int) -> Entries:
    """Money that pays for nothing and goes back at once."""
    return {Account.PROVIDER: received, Account.REFUNDS: -received}


def settled(amount: int) -> Entries:
    return {Account.CASH: amount, Account.PROVIDER: -amount}


def refund_requested(amount: int, source: Account) -> Entries:
    return {source: amount, Account.REFUNDS: -amount}


def refunded(amount: int) -> Entries:
    return {Account.REFUNDS: amount, Account.CASH: -amount}


def opposite(entries: Entries) -> Entries:
    return {account: -amount for account, amount in entries.items()}


def lost(balances: Entries, amount: int, *, paid_out: bool) -> Entries:
    """The provider takes the whole payment back: what it paid for is undone, what was refunded already is a loss."""
    asset = Account.CASH if paid_out else Account.PROVIDER
    undone = {
        account: -balance
        for account, balance in balances.items()
        if account in {Account.SALES, Account.REFUNDS, Account.UNAPPLIED}
    }
    return {asset: -amount, **undone, Account.LOSSES: amount - sum(undone.values())}
