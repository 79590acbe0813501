"""The service, put together."""

from pathlib import Path

from newservice import api
from newservice.access import ACCESS
from newservice.settings import Settings
from shared.messaging.inbox import Inbox
from shared.service import Service


def build(settings: Settings) -> Service:
    """Build the service from its settings."""
    return Service(
        name="newservice",
        title="Newservice",
        description="Entries, each with a title of its own.",
        settings=settings,
        versions=Path(__file__).parents[1] / "migrations" / "versions",
        routers=[api.router],
        access=ACCESS,
        inbox=Inbox("newservice"),
    )
