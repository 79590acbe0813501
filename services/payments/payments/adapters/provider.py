"""What we need of a payment provider, in our words; `flywire.py` calls the real one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from payments.domain.payments import PaymentFact
from payments.domain.refunds import RefundFact
from shared.errors import BadUpstream, Unavailable


class ProviderUnavailable(Unavailable):
    """The payment provider did not answer; what was asked of it may or may not have happened."""


class ProviderUnclear(ProviderUnavailable):
    """The payment provider answered something we do not understand: what was asked of it may or may not have happened,
    and is not known yet."""

    code = "provider_unavailable"
    answered = True


class ProviderNotReached(ProviderUnavailable):
    """The payment provider was not reached, or turned the call away unread: what was asked of it did not happen."""

    code = "provider_unavailable"


class ProviderRefused(BadUpstream):
    """The payment provider answered, and the answer is no."""

    remedy = "Nothing was made there. Check what was sent; if it is right, name the `request_id` when you ask for help."


@dataclass(frozen=True, slots=True)
class Payer:
    """The payer as the pay page shows them. Names go to the provider only, shortened to what it takes."""

    email: str
    given_name: str
    family_name: str
    country: str


@dataclass(frozen=True, slots=True)
class Item:
    """One line of what is paid for; `amount_minor` is in minor units of the order's currency."""

    id: str
    description: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CheckoutOrder:
    """An order as it is sent to the provider. `reference`, of at most 50 characters, comes back in every
    notification."""

    reference: str
    amount_minor: int
    currency: str
    items: Sequence[Item]
    payer: Payer
    return_url: str


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout session that the provider has opened, and its pay page."""

    provider_session: str
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A signed notification, or an item of a list, that this release cannot read, and what it seems to be about."""

    why: str
    reference: str = ""
    our_reference: str = ""
    refund_reference: str = ""
    """The provider's id of the refund that a callback is about."""


F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Listed(Generic[F]):
    """A page of the provider's payments or refunds; an empty one is the end of the list."""

    facts: Sequence[F]
    unreadable: Sequence[Unreadable]


class PaymentProvider(Protocol):
    """A payment provider. Every method but `parse_notification` calls the outside world: never inside a transaction.

    They raise ProviderUnavailable (the outcome is unknown; ProviderUnclear where there was an answer that cannot be
    read; ProviderNotReached where nothing happened for certain) and ProviderRefused (the answer is no). A status we do
    not know is returned as UNKNOWN, with its reference.
    """

    @property
    def name(self) -> str: ...

    async def create_checkout(self, order: CheckoutOrder, now: datetime) -> Checkout: ...

    async def confirm_checkout(self, provider_session: str) -> str | None:
        """Return the payment's reference once the payer has finished the form; None until then."""
        ...

    async def expire_checkout(self, provider_session: str) -> None: ...

    def parse_notification(self, headers: Mapping[str, str], raw_body: bytes) -> PaymentFact | RefundFact | Unreadable:
        """Return what a callback reports; raises BadSignature before anything of the body is read. Pure."""
        ...

    async def fetch_payment(self, reference: str) -> PaymentFact:
        """Return what the provider reports of a payment now; the fact's `at` is the instant of asking."""
        ...

    async def list_payments(self, since: datetime, page: int) -> Listed[PaymentFact]:
        """Return a page, from 1 on, of the payments created since then. `reference` of an unreadable item is that of
        the payment or refund, or a digest of the item where it names none."""
        ...

    async def list_refunds(self, since: datetime, page: int) -> Listed[RefundFact]:
        """Return a page of the refunds created since then, as `list_payments` does."""
        ...

    async def create_refund(
        self, reference: str, amount_minor: int, our_refund_id: str, still_ours: Callable[[], Awaitable[bool]]
    ) -> RefundFact | None:
        """Ask for a refund of a payment; None, and nothing is sent, where `still_ours` says no.

        `still_ours` is asked last, after all waiting for a slot.
        """
        ...

    async def refunds_of(self, reference: str) -> Sequence[RefundFact]:
        """Return all refunds of a payment, ended or not, among them those that a timed-out create may have made."""
        ...

    async def fetch_refund(self, provider_refund_id: str) -> RefundFact: ...
