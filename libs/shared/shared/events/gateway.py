"""What the gateway announces."""

from uuid import UUID

from shared.events.base import Event, Instant


class AccountOpened(Event, type="gateway.account.opened.v1", subject="account_id"):
    """Somebody can sign in. The account id is the learner id should they register as one."""

    account_id: UUID
    opened_at: Instant
