"""The transport of embedded mode: the relay hands each event to its subscribers in this process.

An envelope counts as sent when every subscriber has it in its own database (handled, put off or parked), so
a crash in between only means that it is handed over again.
"""

import logging
from collections.abc import Sequence

from shared.crashes import crash_point
from shared.messaging.inbox import Receiver
from shared.messaging.relay import Envelope, TransportDown
from shared.outages import DATABASE_ERRORS, note_outage

log = logging.getLogger(__name__)


class InProcessBus:
    at_once = 1
    """In the order of the commits, as from a queue."""
    batch = 100
    """They are done with once all subscribers have handled them, and the relay's claim is open as long."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []

    def subscribe(self, receiver: Receiver) -> None:
        self._receivers.append(receiver)

    async def send(self, envelopes: Sequence[Envelope]) -> list[str | None]:
        heard: set[str] = set()
        for receiver in self._receivers:
            types = receiver.inbox.types
            bodies = [envelope.body for envelope in envelopes if envelope.type in types]
            heard |= types
            if not bodies:
                continue
            try:
                await receiver.take(bodies)
            except DATABASE_ERRORS as error:
                note_outage(log, error)
                raise TransportDown(f"{receiver.service}: {error!r}") from error
        crash_point("relay_published")
        return ["nobody takes it" if envelope.heard and envelope.type not in heard else None for envelope in envelopes]
