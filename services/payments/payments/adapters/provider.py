"""The payment provider as we need it; `flywire.py` speaks to the real one, the sandbox speaks Flywire's shapes."""

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


class ProviderRefused(BadUpstream):
    """The payment provider answered, and the answer is no."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Whom the pay page greets. Names go to the provider only."""

    email: str
    given_name: str
    family_name: str
    country: str


@dataclass(frozen=True, slots=True)
class Item:
    """A line of what is paid for; `amount_minor` in minor units."""

    id: str
    description: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CheckoutOrder:
    """What the provider is told. `reference` comes back in every notification; at most 50 characters."""

    reference: str
    amount_minor: int
    currency: str
    items: Sequence[Item]
    payer: Payer
    return_url: str


@dataclass(frozen=True, slots=True)
class Checkout:
    provider_session: str
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What this release does not understand, and of whom it seems to tell: a signed notification, or one of a list."""

    why: str
    reference: str = ""
    external_reference: str = ""
    refund_reference: str = ""
    """The provider's name for the refund of which a callback tells."""


F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Listed(Generic[F]):
    """A page of what the provider has: an empty one is the end of the list."""

    facts: Sequence[F]
    unreadable: Sequence[Unreadable]


class PaymentProvider(Protocol):
    """Every call but `parse_notification` asks the outside world: never inside a transaction.

    They raise ProviderUnavailable (the outcome is unknown; ProviderUnclear where there was an answer that cannot be
    read) and ProviderRefused (the answer is no). A status we do not know is told as such, with its reference.
    """

    @property
    def name(self) -> str: ...

    async def create_checkout(self, order: CheckoutOrder, now: datetime) -> Checkout: ...

    async def confirm_checkout(self, provider_session: str) -> str | None:
        """The payment's reference once the payer has finished the form; None until then."""
        ...

    async def expire_checkout(self, provider_session: str) -> None: ...

    def parse_notification(self, headers: Mapping[str, str], raw_body: bytes) -> PaymentFact | RefundFact | Unreadable:
        """What a callback says; raises BadSignature before anything of the body is read. Pure."""
        ...

    async def fetch_payment(self, reference: str) -> PaymentFact:
        """What the provider says of it now; `at` is the instant of asking."""
        ...

    async def list_payments(self, since: datetime, page: int) -> Listed[PaymentFact]:
        """Of what was created since then, page by page from 1 on. `reference` of one that cannot be read is the
        payment, or refund, or a digest of it where it names none."""
        ...

    async def list_refunds(self, since: datetime, page: int) -> Listed[RefundFact]:
        """As `list_payments`."""
        ...

    async def create_refund(
        self, reference: str, amount_minor: int, our_refund_id: str, still_ours: Callable[[], Awaitable[bool]]
    ) -> RefundFact | None:
        """None, and nothing is sent, where `still_ours` says no: it is asked last, after all waiting for a turn."""
        ...

    async def refunds_of(self, reference: str) -> Sequence[RefundFact]:
        """All refunds of a payment, dead or alive, among them those that a timed-out create may have made."""
        ...

    async def fetch_refund(self, provider_refund_id: str) -> RefundFact: ...

    async def cancel_refund(self, provider_refund_id: str) -> None:
        """Possible until the provider has begun to pay it out."""
        ...
