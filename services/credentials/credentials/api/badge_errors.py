"""The errors of the library of badges in answers, and in the OpenAPI document."""

from typing import Any

from fastapi import FastAPI, Request, Response

from credentials.adapters.badge_problems import as_problem, problem_of
from openbadges.errors import BadgeError
from shared.errors import DomainError
from shared.web import error_responses, error_responses_as_pages
from shared.web.problems import problem


def responses_of(*kinds: type[DomainError] | type[BadgeError]) -> dict[int | str, dict[str, Any]]:  # Any: FastAPI's
    """Return the `responses` of a route that may raise these errors, ours and the library's."""
    return error_responses(*map(_ours, kinds))


def responses_as_pages_of(
    *kinds: type[DomainError] | type[BadgeError],
) -> dict[int | str, dict[str, Any]]:  # Any: as above
    """Return the same for a route that answers a browser with a page and programs with a problem document."""
    return error_responses_as_pages(*map(_ours, kinds))


def _ours(kind: type[DomainError] | type[BadgeError]) -> type[DomainError]:
    return problem_of(kind) if issubclass(kind, BadgeError) else kind


def install(app: FastAPI) -> None:
    """Have the application answer the library's errors with problem documents."""

    @app.exception_handler(BadgeError)
    async def refuse(_: Request, error: BadgeError) -> Response:
        ours = as_problem(error)
        return problem(ours.status, ours.code, ours.title, ours.detail, headers=ours.headers, **ours.extras)
