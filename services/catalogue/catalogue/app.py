"""The composition of the catalogue."""

from pathlib import Path

from catalogue import api
from catalogue.access import ACCESS
from catalogue.adapters.response_cache import ResponseCache
from catalogue.api.cached_reads import CachedReads
from catalogue.jobs import jobs
from catalogue.settings import Settings
from shared.messaging.inbox import Inbox
from shared.service import Service


def build(settings: Settings) -> Service:
    """The catalogue: what the federation teaches, in frozen versions, and what it costs."""
    response_cache = ResponseCache()
    return Service(
        name="catalogue",
        title="Catalogue",
        description="Courses in frozen versions, their study materials and dated prices.",
        settings=settings,
        versions=Path(__file__).parents[1] / "migrations" / "versions",
        routers=api.routers,
        access=ACCESS,
        inbox=Inbox("catalogue"),  # it consumes no events
        jobs=jobs,
        resources={ResponseCache: response_cache},
        wrap=lambda process, app: CachedReads(app, response_cache, process.database, process.service.name),
        also=lambda process: {"shelf": lambda: response_cache.run(process.database.url)},
        further_connections=1,  # on which the response cache listens for changes
    )
