"""Listings: the JSON of public reads, made when a course changes rather than when it is read.

`card` is the course's item in lists, `page` its own document; both are JSON objects that lack only the prices, which
depend on the instant (queries.listings adds them). `search` is the weighted tsvector of its words.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

INDEXED_BYTES = {"A": 2_000, "B": 10_000, "C": 60_000, "D": 180_000}
"""How many bytes of text are indexed under each weight.

A tsvector holds 1,048,575 bytes, and text becomes up to four times as long in one: a hyphenated word is indexed whole
and in parts, each with its position (tests/test_long_texts.py).
"""

_RENEW = text("""
    insert into listings (
        course_id, slug, on_sale, sort_title, subject, institution, level, card, page, search
    )
    select c.course_id, c.slug, c.state = 'published', lower(without_accents(v.title)), s.slug, i.slug, v.level,
        (select row_to_json(card)::text from (select
            c.course_id, c.slug, c.code, v.title, v.summary,
            json_build_object('slug', s.slug, 'name', s.name) as subject,
            json_build_object('slug', i.slug, 'name', i.name) as institution,
            v.credits, v.level, v.weeks,
            json_build_object('min', v.hours_min, 'max', v.hours_max) as hours_per_week
        ) card),
        (select row_to_json(page)::text from (select
            c.course_id, c.slug, c.code, c.state, v.course_version_id, v.version, v.title,
            v.summary, v.description,
            json_build_object(
                'subject_id', s.subject_id, 'slug', s.slug, 'name', s.name, 'award_name', s.award_name
            ) as subject,
            json_build_object(
                'institution_id', i.institution_id, 'slug', i.slug, 'name', i.name, 'homepage', i.homepage
            ) as institution,
            v.credits, v.level, v.weeks,
            json_build_object('min', v.hours_min, 'max', v.hours_max) as hours_per_week,
            c.module_family, v.prerequisites, json_build_object('criteria', v.criteria) as badge,
            v.outcomes, v.skills, u.outline as units, instant(v.published_at) as published_at
        ) page),
        setweight(to_tsvector('english', indexed.words[1]), 'A')
        || setweight(to_tsvector('english', indexed.words[2]), 'B')
        || setweight(to_tsvector('english', indexed.words[3]), 'C')
        || setweight(to_tsvector('english', indexed.words[4]), 'D')
    from courses c
    join course_versions v on v.course_version_id = c.current_version_id
    join subjects s on s.subject_id = v.subject_id
    join institutions i on i.institution_id = v.institution_id
    cross join lateral (
        select
            coalesce(json_agg(json_build_object(
                'unit_id', unit_id, 'position', position, 'title', title, 'minutes', minutes,
                'objectives', objectives
            ) order by position), '[]') as outline,
            coalesce(string_agg(title || ' ' || text, ' ' order by position), '') as words
        from units where course_version_id = v.course_version_id
    ) u
    cross join lateral (
        -- `more` are the bytes beyond one a character, of which each has one to four.
        -- `offset 0`: made once, read thrice.
        select array_agg(left(words, greatest(most - more, most / 4)) order by n) as words
        from unnest(
            array[
                v.title || ' ' || c.code,
                v.summary || ' ' || s.name,
                concat_ws(' ',
                    -- `#>>` is the text itself; in its JSON the first word of a line would have the n of \\n before it.
                    (select string_agg(said #>> '{}', ' ') from jsonb_path_query(v.outcomes, '$[*].text') said),
                    (select string_agg(said #>> '{}', ' ') from jsonb_path_query(v.skills, '$[*].name') said)
                ),
                v.description || ' ' || u.words
            ],
            cast(:most as int[])
        ) with ordinality as whole (whole, most, n)
        cross join lateral (select left(without_accents(left(whole, most)), most) as words offset 0) cut
        cross join lateral (select octet_length(words) - length(words) as more) counted
    ) indexed
    where c.course_id = any(:course_ids)
    on conflict (course_id) do update set
        on_sale = excluded.on_sale, sort_title = excluded.sort_title, subject = excluded.subject,
        institution = excluded.institution, level = excluded.level, card = excluded.card,
        page = excluded.page, search = excluded.search
""")


_LOCK = text("select from courses where course_id = any(:course_ids) order by course_id for no key update")


async def lock_courses(session: AsyncSession, course_ids: Sequence[UUID]) -> None:
    await session.execute(_LOCK, {"course_ids": list(course_ids)})


async def renew_listings(session: AsyncSession, course_ids: Sequence[UUID]) -> None:
    """Write these courses' listings anew; a course that was never published has none.

    The courses are locked first, in one order everywhere, so that the listings are made of rows read under the lock.
    Otherwise an older state would overwrite what another transaction has published or withdrawn meanwhile.
    """
    await session.flush()
    await lock_courses(session, course_ids)
    await session.execute(_RENEW, {"course_ids": list(course_ids), "most": [*INDEXED_BYTES.values()]})
