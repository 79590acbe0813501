"""Double entry: every posting adds up to nothing. Debits are positive, credits negative, in minor units."""

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
class Standing:
    """What is true of one payment at this moment, in minor units of its currency."""

    received: int
    """What it brought; nothing before it is certain, and nothing once it is lost."""
    settled: bool
    """Paid out to us: no longer at the provider."""
    sold: int
    """The price of what it paid for and what was not given back."""
    owed: int
    """Refunds that were not paid yet; of a lost payment those that the provider may still pay."""
    given_back: int
    """Refunds that were paid, each counted once."""
    paid_out: int
    """What the provider has paid to the payer, all told."""


def books(of: Standing) -> Entries:
    """What has to stand in each account because of this payment.

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


def differences(wanted: Entries, currency: str, held: Mapping[str, Entries]) -> Mapping[str, Entries]:
    """What to post by currency: what stands in another one than is wanted is undone, for currencies are not added."""
    found = {one: difference({}, entries) for one, entries in held.items() if one != currency}
    found[currency] = difference(wanted, held.get(currency, {}))
    return {one: entries for one, entries in found.items() if entries}


def difference(wanted: Entries, held: Entries) -> Entries:
    """What to post so that the accounts stand as wanted; entries of nothing are left out."""
    moved = {account: wanted.get(account, 0) - held.get(account, 0) for account in Account}
    return {account: amount for account, amount in moved.items() if amount}
