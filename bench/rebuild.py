"""What every learner may claim, from all facts: as a rebuild derives it, against one SQL statement doing the same."""

import time
from datetime import UTC, datetime
from typing import Any

from bench.measuring import Bench, Limit, Result, alternate
from credentials.commands.rebuild import fill_shadow
from credentials.domain import regulations
from embedded.postgres import Postgres
from embedded.services import versions_of
from shared.driver import connect_driver
from shared.migrate import migrate

EACH = 10
"""Credits of one learner, most of them in two subjects."""
NOW = datetime(2026, 11, 23, tzinfo=UTC)

FACTS = """
    insert into credits
    select gen_random_uuid(), learner, learner, learner, learner, learner,
        'C' || family, 'Course ' || family, family::text, md5(subject::text)::uuid,
        'Subject ' || subject, 15, 7, 40 + (random() * 60)::int, 1, 'internal', learner, 'mc-regs-2026.2',
        timestamptz '2026-10-01' + family * interval '1 hour'
    from (select gen_random_uuid() as learner, random() as taste from generate_series(1, $1)) learners,
        lateral (select family, case when family < 7 then (taste * 20)::int when family < 10 then (taste * 7)::int
            else (random() * 20)::int end as subject from generate_series(1, $2::int) family) modules
"""

# The rules of the version in force, once more in SQL: single and dominant, joint, with, interdisciplinary.
STATEMENT = """
    insert into sql_eligibilities
    with present as (
        select distinct on (subject_id) subject_id, award_name from subject_names
        where effective_from <= $1 order by subject_id, effective_from desc
    ), used as (
        select allocations.credit_id, max(array_position(array['pgcert', 'pgdip', 'masters'], awards.level)) as rank
        from allocations join awards using (award_id)
        where awards.state in ('claimed', 'conferred', 'superseded') group by allocations.credit_id
    ), gone as (
        select distinct credit_id from revocations where not exists (
            select from reinstatements where reinstatements.credit_id = revocations.credit_id
            and reinstatements.reinstated_at >= revocations.revoked_at
        )
        union select credit_id from transfer_lines where state in ('committed', 'consumed')
    ), counted as (
        select distinct on (learner_id, family) learner_id, credit_id, subject_id, subject_name from credits
        where level = 7 and credits = 15 and subject_name <> '' and credit_id not in (select credit_id from gone)
        order by learner_id, family, mark * credits desc, ratified_at, credit_id
    ), levels (level, label, n, rank) as (
        values ('pgcert', 'PGCert', 4, 1), ('pgdip', 'PGDip', 8, 2), ('masters', 'Master''s degree', 12, 3)
    ), summed as (
        select learner_id, coalesce(award_name, subject_name) as subject, coalesce(rank, 0) as rank, count(*) as own
        from counted left join present using (subject_id) left join used using (credit_id) group by 1, 2, 3
    ), held as materialized (
        select learner_id, level, label, n, subject, sum(own) as own,
            sum(sum(own)) over whole as total, sum(least(sum(own), 3 * n / 4)) over whole as capped,
            count(*) over whole as subjects
        from summed join levels on summed.rank < levels.rank group by 1, 2, 3, 4, 5
        window whole as (partition by learner_id, level)
    ), titles as (
        select learner_id, level, label || ' in ' || subject as title from held where own * 4 > 3 * n and total >= n
        union all
        select one.learner_id, one.level, one.label || ' in ' || one.subject || ' and ' || other.subject
        from held one join held other using (learner_id, level)
        where lower(one.subject) < lower(other.subject) and least(one.own, other.own) * 2 >= one.n
        union all
        select one.learner_id, one.level, one.label || ' in ' || one.subject || ' with ' || other.subject
        from held one join held other using (learner_id, level)
        where one.subject <> other.subject and one.own * 2 > one.n and other.own * 4 >= one.n
            and one.own + other.own >= one.n
        union all
        select distinct learner_id, level, label || ' in Interdisciplinary Studies' from held
        where subjects >= 3 and capped >= n
    )
    select learner_id, jsonb_object_agg(level, titles) from (
        select learner_id, level, coalesce(jsonb_agg(title) filter (where title is not null), '[]') as titles
        from (select distinct learner_id from held) learners cross join levels
        left join titles using (learner_id, level)
        group by learner_id, level
    ) by_level group by learner_id
"""

DIFFERENT = """
    select count(*) from sql_eligibilities made full join shadow_eligibilities shadow using (learner_id),
        lateral jsonb_object_keys(coalesce(made.titles, shadow.titles)) level
    where made.learner_id is null or shadow.learner_id is null
        or not (made.titles -> level @> (shadow.titles -> level) and shadow.titles -> level @> (made.titles -> level))
"""


async def measure(bench: Bench) -> list[Result]:
    facts = bench.size(1_000_000)
    async with Postgres(bench.folder / "postgres") as server:
        url = await server.create_role_and_database("credentials")
        await migrate(url, versions_of("credentials"))
        connection = await connect_driver(url)
        try:
            await connection.execute("set statement_timeout to 0")
            await connection.execute(FACTS, facts // EACH, EACH)
            await connection.execute("vacuum analyze credits")
            await connection.execute("create temporary table sql_eligibilities (learner_id uuid, titles jsonb)")
            rates = await alternate(
                bench.rounds,
                {
                    "one statement": lambda: _statement(connection, facts),
                    "rebuild": lambda: _rebuild(connection, facts),
                },
            )
            if different := await connection.fetchval(DIFFERENT):
                raise RuntimeError(f"the two give different titles at {different} levels")
        finally:
            await connection.close()
    return [
        Result(
            f"projection rebuild, {facts:,} facts, {regulations.in_force(NOW).version}",
            "facts/s of one SQL statement",
            rates["rebuild"] / rates["one statement"],
            Limit(0.40, 0.85, 0.95),
            f"{rates['rebuild']:,.0f} of {rates['one statement']:,.0f}",
        )
    ]


async def _statement(connection: Any, facts: int) -> float:  # Any: asyncpg ships no types
    await connection.execute("truncate sql_eligibilities")
    began = time.perf_counter()
    await connection.execute(STATEMENT, NOW)
    return facts / (time.perf_counter() - began)


async def _rebuild(connection: Any, facts: int) -> float:  # Any: asyncpg ships no types
    began = time.perf_counter()
    await fill_shadow(connection, NOW)
    return facts / (time.perf_counter() - began)
