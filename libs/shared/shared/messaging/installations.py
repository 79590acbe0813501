"""Which installation a delivery comes from: events of a foreign, or empty, database are not taken for those we read."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from shared import telemetry
from shared.database import Database
from shared.messaging.tables import FeedPosition

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as a transport delivers it."""

    body: bytes
    type: str
    installation: UUID | None
    """The installation whose database it was written in; None where its sender did not say."""

    @property
    def source(self) -> str:
        """The service that publishes these events."""
        return self.type.partition(".")[0]


class InstallationFilter:
    """Tells deliveries of this installation from foreign ones, by the installation whose feed a service reads."""

    def __init__(self, service: str, database: Database) -> None:
        self._service, self._database = service, database
        self._read: dict[str, UUID | None] = {}

    async def of_this_installation(self, deliveries: Sequence[Delivery]) -> list[bytes]:
        """Return the bodies of the deliveries from the installation whose feed is read, or whose feed never was.

        The others are passed over and counted. Where the feed is of that other installation, too, the reconciler does
        not read it (`ForeignFeed`) until a person has said which one is right; then it brings these events.
        """
        if not any(map(self._is_foreign, deliveries)):
            return [one.body for one in deliveries]
        async with self._database.transaction() as session:
            read = await session.execute(select(FeedPosition.source, FeedPosition.installation))
        self._read = {row.source: row.installation for row in read}
        ours, foreign = list[bytes](), list[Delivery]()
        for one in deliveries:
            if self._read.get(one.source) and self._is_foreign(one):
                foreign.append(one)
            else:
                ours.append(one.body)
        if not foreign:
            return ours
        for one in foreign:
            telemetry.events_handled.labels(self._service, one.type, "foreign").inc()
        details = {"count": len(foreign), "type": foreign[0].type, "installation": str(foreign[0].installation)}
        log.error("events of another installation are passed over", extra=details)
        return ours

    def _is_foreign(self, delivery: Delivery) -> bool:
        return delivery.installation not in {None, self._read.get(delivery.source)}
