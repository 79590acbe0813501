"""Double-entry books: the entries of a posting add up to zero. Debits are positive, credits negative, in minor
units."""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class PaymentPosition:
    """Where the money of one payment stands now, in minor units of its currency."""

    received: int
    """What arrived: nothing before it is certain, and nothing once it is lost."""
    settled: bool
    """Paid out to us: no longer at the provider."""
    sold: int
    """The price of the lines it paid for that were not given back."""
    owed: int
    """Refunds that were not paid yet; of a lost payment those that the provider may still pay."""
    given_back: int
    """Refunds that were paid, each counted once."""
    paid_out: int
    """The sum of what the provider has paid to the payer."""


def books(of: PaymentPosition) -> Entries:
    """Return the balance that each account must have because of this payment.

    What the provider paid out beyond what was owed, or after the money was gone, is a loss; money that pays for nothing
    and is not owed back yet is unapplied.
    """
    asset = Account.CASH if of.settled else Account.PROVIDER
    known = {Account.CASH: -of.paid_out, Account.SALES: -of.sold, Account.REFUNDS: -of.owed}
    known[asset] = known.get(asset, 0) + of.received
    if not of.received:
        return {**known, Account.LOSSES: -sum(known.values())}
    known[Account.LOSSES] = of.paid_out - of.given_back
    return {**known, Account.UNAPPLIED: -sum(known.values())}


def paid_out_too_much(of: PaymentPosition) -> int:
    """Return what was paid out beyond what was owed, in minor units: of a payment that is lost, nothing is owed."""
    return of.paid_out - (of.given_back if of.received else 0)


def differences(wanted: Entries, currency: str, booked: Mapping[str, Entries]) -> Mapping[str, Entries]:
    """Return what to post, by currency. Balances in another currency than the wanted one are undone: sums of different
    currencies cannot be added."""
    found = {one: difference({}, entries) for one, entries in booked.items() if one != currency}
    found[currency] = difference(wanted, booked.get(currency, {}))
    return {one: entries for one, entries in found.items() if entries}


def difference(wanted: Entries, booked: Entries) -> Entries:
    """Return what to post so that the balances are as wanted; accounts that do not change are left out."""
    moved = {account: wanted.get(account, 0) - booked.get(account, 0) for account in Account}
    return {account: amount for account, amount in moved.items() if amount}
