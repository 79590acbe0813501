"""The operations everybody may read: courses with search and facets, subjects, institutions."""

import math
import re
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Request, Response
from pydantic import AfterValidator, StringConstraints
from sqlalchemy import select

from catalogue.adapters.response_cache import Asked, ResponseCache
from catalogue.api.shapes import CoursePage, CourseView, InstitutionView, Slug, SubjectView
from catalogue.domain import Filters
from catalogue.queries.listings import find_courses, find_page
from catalogue.tables import Institution, Subject
from shared.paging import BadCursor, PageRequest, paginate
from shared.web import (
    DatabaseOf,
    Page,
    Paging,
    ReadSession,
    Router,
    conditional,
    page_of,
    resource,
)
from shared.web.content import Text

router = Router()

CacheHere = Annotated[ResponseCache, resource(ResponseCache)]


def _hyphens_parted(words: str) -> str:
    """Replace hyphens within words, so that a pasted slug is searched by its words. Before a word one means "not"."""
    return re.sub(r"(?<=\w)-(?=\w)", " ", words)


Words = Annotated[Text, StringConstraints(max_length=200, strip_whitespace=True), AfterValidator(_hyphens_parted)]


@router.get("/v1/courses", operation_id="list_courses", response_model=CoursePage)
async def list_courses(
    request: Request,
    database: DatabaseOf,
    response_cache: CacheHere,
    paging: Paging,
    *,
    q: Annotated[
        Words | None,
        Query(
            description='Words to search for: "exact phrase", or, -not. The best match comes first: '
            "title, then summary, then outcomes, then study text. Words that very many courses have find all of them, "
            "and the pages hold the best few hundred",
            examples=["causal inference"],
        ),
    ] = None,
    subject: Annotated[Sequence[Slug], Query(max_length=50, description="Any of these subjects")] = (),
    institution: Annotated[Sequence[Slug], Query(max_length=50, description="Any of these institutions")] = (),
    level: Annotated[int | None, Query(ge=1, le=8)] = None,
) -> Response:
    """Courses on sale, with facets: by relevance where there are words to search for, else by title."""
    filters = Filters(tuple(subject), tuple(institution), level)
    after = _position(paging, by_rank=bool(q))
    at = database.clock()
    page = await response_cache.fill(
        Asked(request.scope["path"], request.scope["query_string"]),
        lambda: find_courses(database, response_cache, q or None, filters, at, limit=paging.limit, after=after),
    )
    return conditional(request, page)


@router.get("/v1/courses/{slug}", operation_id="read_course", response_model=CourseView)
async def read_course(
    request: Request,
    database: DatabaseOf,
    response_cache: CacheHere,
    slug: Annotated[Slug, Path(examples=["causal-inference"])],
) -> Response:
    """A course with its outline, outcomes and prices; also after it was withdrawn from sale."""
    at = database.clock()
    asked = Asked(request.scope["path"], request.scope["query_string"])
    page = await response_cache.fill(asked, lambda: find_page(database, slug, at))
    return conditional(request, page)


@router.get("/v1/subjects", operation_id="list_subjects", response_model=Page[SubjectView])
async def list_subjects(request: Request, session: ReadSession, paging: Paging) -> Response:
    """Subjects that credit counts in, by their address."""
    rows, cursor = await paginate(session, select(Subject), paging, by=[Subject.slug])
    return conditional(request, page_of(rows, SubjectView.model_validate, cursor))


@router.get("/v1/institutions", operation_id="list_institutions", response_model=Page[InstitutionView])
async def list_institutions(request: Request, session: ReadSession, paging: Paging) -> Response:
    """Members of the federation, by their address."""
    rows, cursor = await paginate(session, select(Institution), paging, by=[Institution.slug])
    return conditional(request, page_of(rows, InstitutionView.model_validate, cursor))


def _position(paging: PageRequest, *, by_rank: bool) -> tuple[float | str, UUID] | None:
    """Return where the previous page ended: at a rank (with search words) or a title, and a course id.

    :raises BadCursor: 400, the cursor is of another query
    """
    match paging.position():
        case None:
            return None
        case [float() as rank, UUID() as course_id] if by_rank and math.isfinite(rank):
            return rank, course_id
        case [str() as title, UUID() as course_id] if not by_rank:
            return title, course_id
        case _:
            raise BadCursor("this cursor is of another query")
