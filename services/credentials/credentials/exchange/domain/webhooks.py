"""What partners are notified of by webhook, and how long we try.

Source: Standard Webhooks; docs/rules.md, "Webhooks".
"""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from shared.errors import Conflict, Invalid

Document = dict[str, Any]  # Any: JSON


class WebhookAddressRefused(Invalid):
    """A webhook goes to a public https address."""

    remedy = "Register an https address that the internet reaches."


class TooManyEndpoints(Conflict):
    """A partner has a few addresses at most; remove one first."""

    remedy = "Remove one of the addresses first."


class TooManyWebhookSecrets(Conflict):
    """Too many secrets live at once; wait until an older one has ended."""

    remedy = "Wait until an older secret has ended."


class EndpointRemoved(Conflict):
    """This address was removed; register it anew."""

    remedy = "Register the address anew."


class PartnerEnded(Conflict):
    """This partner was closed: nobody writes to it any more."""

    remedy = "Ask the platform's operator, who closed it."


MOST_ENDPOINTS: Final = 5
MOST_SECRETS: Final = 4
RESPONSE_CHARACTERS: Final = 2048
"""How much of a partner's answer is kept."""

RETRY_AFTER: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""The wait after the first failed try, the second, …: the schedule Standard Webhooks recommends, 75 hours in all."""

JITTER: Final = 0.2
"""The largest share by which a wait is lengthened at random, so that a partner who comes back is not overrun."""

LONGEST_WAIT: Final = max(RETRY_AFTER) * (1 + JITTER)

PATIENCE: Final = timedelta(hours=24)
"""An endpoint at which nothing succeeded for this long is disabled when a delivery is given up."""

_GONE: Final = 410


class DeliveryState(StrEnum):
    """Whether a message is still tried, was taken by the address, or was given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True)
class Answer:
    """The outcome of one try. `status` is None where there was no answer; `error` says why it counts as failed."""

    status: int | None
    response: str
    error: str | None
    milliseconds: int

    @property
    def taken(self) -> bool:
        """Whether the partner accepted the delivery."""
        return self.error is None

    @property
    def gone(self) -> bool:
        """Whether the partner says that this endpoint is no longer in use."""
        return self.status == _GONE


def next_try(tries: int, now: datetime, chance: float) -> datetime | None:
    """Return when to try again after so many failed tries, or None to give up. `chance` is drawn from [0, 1).

    `tries` is 0 where the delivery was replayed during the try that failed.
    """
    if tries > len(RETRY_AFTER):
        return None
    return now + RETRY_AFTER[max(tries, 1) - 1] * (1 + JITTER * chance)


def disable_because(answer: Answer, *, given_up: bool, failing_since: datetime, now: datetime) -> str | None:
    """Return the reason code for which an endpoint is to be disabled, if there is one."""
    if answer.gone:
        return "gone"
    if given_up and now - failing_since >= PATIENCE:
        return "failing"
    return None


def message(type_: str, at: datetime, data: Document) -> Document:
    """Return the body of a webhook, as Standard Webhooks lays it out: ids and facts, never a person."""
    return {"type": type_, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": data}


def shown_secret(secret: bytes) -> str:
    """Return a secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secret).decode("ascii")
