"""The public's reads on the fast path: one statement each, JSON assembled by PostgreSQL, returned as bytes.

A listing's `card` and `page` are JSON objects that lack only the prices; these depend on the instant, so the statements
insert them before the closing brace.
"""

import json
from datetime import datetime
from functools import cache
from typing import Final
from uuid import UUID

from catalogue.adapters.response_cache import Answer, ResponseCache
from catalogue.domain import Facets, Filters, Group
from shared.database import Database, RawStatement, Unknown
from shared.paging import encode

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
"""When the next price of any course begins: the answer holds until then, unless something else changes."""

_PAGE: Final = RawStatement(
    f"select left(l.page, -1) || {_PRICES} as body, {_UNTIL} from listings l where l.slug = :slug"  # noqa: S608 - constants of this module
)

_WEIGHTS: Final = "{0.0005, 0.05, 0.2, 1.0}"
"""The weights of study text, outcomes, summary and title. Every occurrence of a word adds its weight, and study text is
long: its weight is so small that it decides only between courses that are alike otherwise."""


async def find_page(database: Database, slug: str, at: datetime) -> Answer:
    """Return the page of a published or withdrawn course as JSON, with its prices at the instant.

    :raises Unknown: 404
    """
    row = await _PAGE.row(database, slug=slug, at=at)
    if row is None:
        raise Unknown("no such course")
    return Answer(row["body"].encode(), at, row["until"])


RANKED: Final = 500
"""The most matches that are ranked and shown, those with the words in the title first: ranking reads every word of a
course."""


async def find_courses(
    database: Database,
    response_cache: ResponseCache,
    words: str | None,
    filters: Filters,
    at: datetime,
    *,
    limit: int,
    after: tuple[float | str, UUID] | None,
) -> Answer:
    """Return one page of courses on sale as JSON, by an index: only the courses of the page are read.

    `words` are as in search engines ("exact phrase", or, -not): with them the best match comes first, otherwise courses
    are in the order of titles. Each facet counts the courses that the other filters leave; facets are counted by a
    statement of their own, once for all pages.
    """
    facets = await response_cache.count(words, lambda: _count(database, words))
    wanted = facets.matching(filters)
    total = sum(group.courses for group in wanted)
    tail = json.dumps(
        {
            "total": total,
            "facets": {"subjects": facets.by_subject(filters), "institutions": facets.by_institution(filters)},
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )[1:-1]
    if total == 0:
        return Answer(f'{{"items":[],{tail},"next_cursor":null}}'.encode(), at, None)
    values: dict[str, object] = {"words": words, "at": at, "limit": limit, "ranked": RANKED}
    if after is not None:
        values |= {"key": after[0], "id": after[1]}
    values |= {"subjects": [*filters.subjects], "institutions": [*filters.institutions], "level": filters.level}
    given = {
        "subjects": bool(filters.subjects),
        "institutions": bool(filters.institutions),
        "level": filters.level is not None,
        "after": after is not None,
    }
    if words is not None:
        statement = _ranked(**given, many=total > RANKED)
    elif _pass_by(facets, total, limit) <= sum(min(group.courses, limit + 1) for group in wanted):
        statement = _by_title(**given)
    else:
        subjects, institutions, levels, _ = zip(*wanted, strict=True)
        values |= {"subjects": subjects, "institutions": institutions, "levels": levels}
        statement = _grouped(after=after is not None)
    row = await statement.row(database, **values)
    cursor = f'"{encode([row["last_key"], row["last_id"]])}"' if row["more"] else "null"
    return Answer(f'{{"items":[{row["items"]}],{tail},"next_cursor":{cursor}}}'.encode(), at, row["until"])


def _pass_by(facets: Facets, total: int, limit: int) -> float:
    """Estimate how many courses lie between the first of all and the last of a page, where `total` match."""
    return (limit + 1) * sum(group.courses for group in facets.groups) / total


async def _count(database: Database, words: str | None) -> Facets:
    rows = await (_COUNT if words is None else _COUNT_MATCHES).rows(database, words=words)
    names = {f"subject/{row['subject']}": row["subject_name"] for row in rows}
    names |= {f"institution/{row['institution']}": row["institution_name"] for row in rows}
    groups = [Group(row["subject"], row["institution"], row["level"], row["count"]) for row in rows]
    return Facets(groups, names)


def _counted(matching: str) -> RawStatement:
    return RawStatement(f"""
        select counted.*, s.name as subject_name, i.name as institution_name from (
            select subject, institution, level, count(*) from listings l {matching}
            group by subject, institution, level
        ) counted
        join subjects s on s.slug = counted.subject join institutions i on i.slug = counted.institution
    """)  # noqa: S608 - put together from constants of this module; values are bound


_MATCHING: Final = (
    "cross join websearch_to_tsquery('english', without_accents(:words)) query where l.on_sale and l.search @@ query"
)
_COUNT: Final = _counted("where l.on_sale")
_COUNT_MATCHES: Final = _counted(_MATCHING)

_AFTER: Final = "(l.sort_title, l.course_id) > (:key, :id)"
_BY_TITLE: Final = "select l.sort_title as key, l.course_id, l.card from listings l where l.on_sale"


def _filtered(*, subjects: bool, institutions: bool, level: bool) -> str:
    """Return the conditions of the filters that are set, so that the planner meets no `or :filter is null`."""
    return f"""
        {"and l.subject = any(:subjects)" if subjects else ""}
        {"and l.institution = any(:institutions)" if institutions else ""}
        {"and l.level = :level" if level else ""}
    """


@cache
def _by_title(*, after: bool, **filters: bool) -> RawStatement:
    """Return the statement that walks all courses in the order of titles, past those that do not match."""
    after_it = f"and {_AFTER}" if after else ""
    return _page(f"{_BY_TITLE} {_filtered(**filters)} {after_it} order by l.sort_title, l.course_id")


@cache
def _grouped(*, after: bool) -> RawStatement:
    """Return the statement that reads the first courses of each matching group by its index, and merges them."""
    return _page(f"""
        select one.* from unnest(:subjects::text[], :institutions::text[], :levels::integer[])
            as wanted (subject, institution, level)
        cross join lateral (
            {_BY_TITLE} and l.subject = wanted.subject and l.institution = wanted.institution
                and l.level = wanted.level {f"and {_AFTER}" if after else ""}
            order by l.sort_title, l.course_id limit :limit + 1
        ) one order by one.key, one.course_id
    """)  # noqa: S608 - constants of this module


@cache
def _ranked(*, many: bool, after: bool, **filters: bool) -> RawStatement:
    filtered = _filtered(**filters)
    in_title = _MATCHING.replace("l.search", "to_tsvector('english', l.sort_title)")
    best = f"""
        (select l.course_id from listings l {in_title} {filtered} limit :ranked)
        union (select l.course_id from listings l {_MATCHING} {filtered} limit :ranked)
    """  # noqa: S608 - constants of this module
    return _page(f"""
        select * from (
            select -ts_rank_cd('{_WEIGHTS}', l.search, query)::float8 as key, l.course_id, l.card from listings l
            {_MATCHING} {filtered} {f"and l.course_id in ({best})" if many else ""}
        ) ranked {"where (key, course_id) > (:key, :id)" if after else ""} order by key, course_id
    """)  # noqa: S608 - constants of this module


def _page(ordered: str) -> RawStatement:
    """Return the statement of one page; `ordered` is a query for key, course_id and card in the list's order."""
    return RawStatement(f"""
        with found as materialized ({ordered} limit :limit + 1),
        page as (select *, row_number() over (order by key, course_id) as place from found),
        last as (select key, course_id from page where place = :limit)
        select
            (
                select string_agg(left(l.card, -1) || {_PRICES}, ',' order by l.place) from page l
                where l.place <= :limit
            ) as items,
            (select count(*) from page) > :limit as more,
            (select key from last) as last_key,
            (select course_id from last) as last_id,
            {_UNTIL}
    """)  # noqa: S608 - put together from constants of this module; values are bound
