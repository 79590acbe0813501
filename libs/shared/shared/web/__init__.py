"""HTTP: routes guarded by the access table, one transaction a request, problem documents, paging, ETags."""

from shared.web.content import LARGEST, Instant, Money, RequestModel, Secret, View
from shared.web.paging import Page, Paging
from shared.web.problems import error_responses, error_responses_as_pages
from shared.web.reading import KeySetResponse, conditional
from shared.web.routing import Call, CallerOf, DatabaseOf, Idempotent, ReadSession, Router, Session, resource
from shared.web.unreadable import page_of, understood, view_of, views_of

__all__ = [
    "LARGEST",
    "Call",
    "CallerOf",
    "DatabaseOf",
    "Idempotent",
    "Instant",
    "KeySetResponse",
    "Money",
    "Page",
    "Paging",
    "ReadSession",
    "RequestModel",
    "Router",
    "Secret",
    "Session",
    "View",
    "conditional",
    "error_responses",
    "error_responses_as_pages",
    "page_of",
    "resource",
    "understood",
    "view_of",
    "views_of",
]
