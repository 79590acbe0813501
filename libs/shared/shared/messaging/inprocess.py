"""The transport of embedded mode: the relay hands each event to its subscribers in this process.

An envelope counts as sent when every subscriber has it in its own database (handled, put off or dead-lettered), so a
crash in between only means that it is handed over again.
"""

import logging
from collections.abc import Sequence

from shared.failpoints import failpoint
from shared.messaging.installations import Delivery
from shared.messaging.receiver import Receiver
from shared.messaging.relay import Envelope, TransportDown
from shared.outages import DATABASE_ERRORS, note_outage

log = logging.getLogger(__name__)


class InProcessBus:
    """The transport to all services of this process."""

    at_once = 1
    """One batch at a time, so that events come in the order of their commits, as from a queue."""
    batch = 100
    """Small, since a batch is sent once all subscribers have handled it, and the relay's claim is open as long."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []

    def subscribe(self, receiver: Receiver) -> None:
        """Have this receiver take the events its inbox subscribes to."""
        self._receivers.append(receiver)

    async def send(self, envelopes: Sequence[Envelope]) -> list[str | None]:
        consumed: set[str] = set()
        for receiver in self._receivers:
            types = receiver.inbox.types
            theirs = [Delivery(one.body, one.type, one.installation) for one in envelopes if one.type in types]
            consumed |= types
            if not theirs:
                continue
            try:
                await receiver.take(await receiver.installations.of_this_installation(theirs))
            except DATABASE_ERRORS as error:
                note_outage(log, error)
                raise TransportDown(f"{receiver.service}: {error!r}") from error
        failpoint("relay_published")
        return ["nobody takes it" if one.has_consumers and one.type not in consumed else None for one in envelopes]
