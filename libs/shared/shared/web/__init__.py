"""The HTTP door: routes that are guarded, one transaction a request, problem documents, paging, ETags."""

from shared.web.content import Content, Instant, Money, View
from shared.web.paging import Cursor, Page, Paging, paginate
from shared.web.problems import refusals
from shared.web.reading import conditional
from shared.web.routing import Call, CallerOf, DatabaseOf, Idempotent, Router, Session, resource

__all__ = [
    "Call",
    "CallerOf",
    "Content",
    "Cursor",
    "DatabaseOf",
    "Idempotent",
    "Instant",
    "Money",
    "Page",
    "Paging",
    "Router",
    "Session",
    "View",
    "conditional",
    "paginate",
    "refusals",
    "resource",
]
