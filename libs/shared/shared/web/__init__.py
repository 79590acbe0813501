"""The HTTP door: routes that are guarded, one transaction a request, problem documents, paging, ETags."""

from shared.web.content import LARGEST, Content, Instant, Money, Secret, View
from shared.web.paging import Cursor, Page, Paging, paginate, paginate_each
from shared.web.problems import refusals, refusals_as_pages
from shared.web.reading import KeySetResponse, conditional
from shared.web.routing import Call, CallerOf, DatabaseOf, Idempotent, Router, Session, resource

__all__ = [
    "LARGEST",
    "Call",
    "CallerOf",
    "Content",
    "Cursor",
    "DatabaseOf",
    "Idempotent",
    "Instant",
    "KeySetResponse",
    "Money",
    "Page",
    "Paging",
    "Router",
    "Secret",
    "Session",
    "View",
    "conditional",
    "paginate",
    "paginate_each",
    "refusals",
    "refusals_as_pages",
    "resource",
]
