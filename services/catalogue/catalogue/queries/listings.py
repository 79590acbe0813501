"""The public's hot reads: one statement each, JSON put together by PostgreSQL, answered as bytes.

A listing's `card` and `page` are JSON objects that lack only the prices; these depend on the instant, so they
are put in before the closing brace here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final
from uuid import UUID

from catalogue.adapters.shelf import Answer
from shared.database import Database, HotStatement, Unknown
from shared.web.paging import encode

_PRICE: Final = """
    (select json_build_object(
        'amount_minor', amount_minor, 'currency', currency, 'valid_from', instant(valid_from)
    )::text from prices where course_id = l.course_id and valid_from {when} :at
    order by valid_from {order} limit 1)
"""
_PRICES: Final = (
    "',\"price\":' || coalesce(" + _PRICE.format(when="<=", order="desc") + ", 'null') || "
    "',\"next_price\":' || coalesce(" + _PRICE.format(when=">", order="asc") + ", 'null') || '}'"
)

_UNTIL: Final = "(select min(valid_from) from prices where valid_from > :at) as until"
"""When the next price of any course begins: the answer holds until then unless something else changes."""

_PAGE: Final = HotStatement(
    f"select left(l.page, -1) || {_PRICES} as body, {_UNTIL} from listings l where l.slug = :slug"  # noqa: S608 - constants of this module
)

_WEIGHTS: Final = "{0.0005, 0.05, 0.2, 1.0}"
"""Of study text, outcomes, summary and title. Every place a word stands at adds its weight, and study text is
long: its weight is so small that it decides only between courses that are alike otherwise."""


async def find_page(database: Database, slug: str, at: datetime) -> Answer:
    """A published or withdrawn course's page as JSON, with its prices at the instant; raises Unknown."""
    row = await _PAGE.row(database, slug=slug, at=at)
    if row is None:
        raise Unknown("no such course")
    return Answer(row["body"].encode(), at, row["until"])


@dataclass(frozen=True, slots=True)
class Search:
    """Words in the manner of search engines ("exact phrase", or, -not), and filters. Nothing given: everything."""

    words: str | None = None
    subjects: Sequence[str] = ()
    institutions: Sequence[str] = ()
    level: int | None = None


async def find_courses(
    database: Database, search: Search, at: datetime, *, limit: int, after: tuple[float | str, UUID] | None
) -> Answer:
    """One page of courses on sale, as JSON.

    With words the best match comes first, otherwise the alphabet decides. Each facet counts what the other
    filters leave, so that a person sees what choosing another subject would give.
    """
    values = {
        "words": search.words,
        "subjects": list(search.subjects),
        "institutions": list(search.institutions),
        "level": search.level,
        "at": at,
        "limit": limit,
    }
    if after is not None:
        values |= {"key": after[0], "id": after[1]}
    statement = _courses(
        words=search.words is not None,
        subjects=bool(search.subjects),
        institutions=bool(search.institutions),
        level=search.level is not None,
        after=after is not None,
    )
    row = await statement.row(database, **values)
    cursor = f'"{encode([row["last_key"], row["last_id"]])}"' if row["more"] else "null"
    return Answer(f'{row["body"]},"next_cursor":{cursor}}}'.encode(), at, row["until"])


@cache
def _courses(*, words: bool, subjects: bool, institutions: bool, level: bool, after: bool) -> HotStatement:
    """The statement for those filters that are set; the planner meets no `or :filter is null`."""
    of_subject = "subject = any(:subjects)" if subjects else "true"
    of_institution = "institution = any(:institutions)" if institutions else "true"
    return HotStatement(f"""
        with found as materialized (
            select l.course_id, l.subject, l.institution,
                {f"-ts_rank_cd('{_WEIGHTS}', l.search, query)::float8" if words else "l.sort_title"} as key
            from listings l {"cross join websearch_to_tsquery('english', :words) query" if words else ""}
            where l.on_sale
            {"and l.search @@ query" if words else ""}
            {"and l.level = :level" if level else ""}
        ),
        matching as (select * from found where {of_subject} and {of_institution}),
        page as (
            select key, course_id, row_number() over (order by key, course_id) as place from matching
            {"where (key, course_id) > (:key, :id)" if after else ""}
            order by key, course_id limit :limit + 1
        ),
        last as (select key, course_id from page where place = :limit)
        select
            '{{"items":[' || coalesce((
                select string_agg(left(l.card, -1) || {_PRICES}, ',' order by page.place)
                from page join listings l using (course_id) where page.place <= :limit
            ), '')
            || '],"total":' || (select count(*) from matching)
            || ',"facets":{{"subjects":' || {_facet("subjects", "subject", of_institution)}
            || ',"institutions":' || {_facet("institutions", "institution", of_subject)}
            || '}}' as body,
            (select count(*) from page) > :limit as more,
            (select key from last) as last_key,
            (select course_id from last) as last_id,
            {_UNTIL}
    """)  # noqa: S608 - put together from constants of this module; values are bound


def _facet(table: str, column: str, other_filter: str) -> str:
    return f"""
        coalesce((
            select json_agg(row_to_json(value))::text from (
                select t.slug, t.name, count(*) from found join {table} t on t.slug = found.{column}
                where {other_filter} group by t.slug, t.name order by count(*) desc, t.name
            ) value
        ), '[]')
    """  # noqa: S608 - constants of this module
