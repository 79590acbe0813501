"""What the gateway announces."""

from uuid import UUID

from shared.events.base import Event, Instant


class AccountOpened(Event, type="gateway.account.opened.v1", subject="account_id"):
    """Somebody can sign in. The account id is the learner id should they register as one."""

    account_id: UUID
    opened_at: Instant


class AccountClosed(Event, type="gateway.account.closed.v1", subject="account_id"):
    """Nobody signs in with it any more. reason_code: anonymised."""

    account_id: UUID
    reason_code: str
    closed_at: Instant


class PartnerRegistered(Event, type="gateway.partner.registered.v1", subject="client_id", consumers=("credentials",)):
    """Another organisation's program may ask for tokens with these scopes."""

    client_id: str
    name: str
    scopes: tuple[str, ...]
    registered_at: Instant


class PartnerClosed(Event, type="gateway.partner.closed.v1", subject="client_id", consumers=("credentials",)):
    """A partner was closed: it is given no more tokens."""

    client_id: str
    closed_at: Instant
