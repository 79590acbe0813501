"""The catalogue, put together."""

from pathlib import Path

from catalogue import api
from catalogue.access import ACCESS
from catalogue.adapters.shelf import Shelf
from catalogue.api.front import Front
from catalogue.jobs import jobs
from catalogue.settings import Settings
from shared.messaging.inbox import Inbox
from shared.service import Service


def build(settings: Settings) -> Service:
    """The catalogue: what the federation teaches, in frozen versions, and what it costs."""
    shelf = Shelf()
    return Service(
        name="catalogue",
        title="Catalogue",
        description="Courses in frozen versions, their study materials and dated prices.",
        settings=settings,
        versions=Path(__file__).parents[1] / "migrations" / "versions",
        routers=api.routers,
        access=ACCESS,
        inbox=Inbox("catalogue"),  # it hears nothing
        jobs=jobs,
        resources={Shelf: shelf},
        wrap=lambda process, app: Front(app, shelf, process.database, process.service.name),
        also=lambda process: [lambda: shelf.run(process.database.url)],
        further_connections=1,  # on which the shelf hears of changes
    )
