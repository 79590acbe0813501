"""Derive everything anew from the facts, beside what is stored, and report who would gain or lose what.

Titles: the database sums the credit by learner and subject, the live rule decides (eligibility.py), and the result is
copied into a shadow table and compared there. Badges are compared by the database alone, documents by the rule that
makes them out.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import documents
from credentials.commands.projection import rebuild
from credentials.domain import eligibility, regulations
from credentials.domain.awards import LIVE
from credentials.domain.credit import CreditStatus
from credentials.domain.eligibility import Totals
from credentials.domain.regulations import Regulations
from credentials.queries.records import record_of
from credentials.queries.reports import credited_learners
from credentials.tables.reports import Rebuild
from shared.database import Database, advisory_lock
from shared.driver import connect_driver
from shared.ids import new_id

_AT_ONCE = 10_000
_DOCUMENTS_AT_ONCE = 100

# Per learner and subject: which modules count (each family once, the best of it), own and external, by the
# credits of the highest award they stand under (0: none).
_SUMS = """
    with present as (
        select distinct on (subject_id) subject_id, award_name from subject_names
        where effective_from <= $1 order by subject_id, effective_from desc
    ), used as (
        select allocations.credit_id, max(awards.credits) as highest
        from allocations join awards using (award_id)
        where awards.state = any($2::text[]) group by allocations.credit_id
    ), gone as (
        select distinct credit_id from revocations where not exists (
            select from reinstatements where reinstatements.credit_id = revocations.credit_id
            and reinstatements.reinstated_at >= revocations.revoked_at
        )
        union select credit_id from credit_holds where released_at is null
        union select credit_id from transfer_lines where state = any($5::text[])
    ), counted as (
        select distinct on (learner_id, family) learner_id, credit_id, subject_id, subject_name, source from credits
        where level = $3 and credits = $4 and subject_name <> '' and credit_id not in (select credit_id from gone)
        order by learner_id, family, case when source = 'internal' then coalesce(mark * credits, 0) else 0 end desc,
            source <> 'internal', ratified_at, credit_id
    ), summed as (
        select learner_id, coalesce(award_name, subject_name) as subject, coalesce(highest, 0) as highest,
            count(*) filter (where source = 'internal') as own, count(*) filter (where source <> 'internal') as external
        from counted left join present using (subject_id) left join used using (credit_id)
        group by learner_id, 2, 3
    )
    select learner_id, array_agg(subject order by subject, highest), array_agg(highest order by subject, highest),
        array_agg(own order by subject, highest), array_agg(external order by subject, highest)
    from summed group by learner_id
"""

_PINNED = "select learner_id, array_agg(distinct regulations_version) from pins group by learner_id"
_UNKNOWN = """
    select learner_id, string_agg(distinct regulations_version, ', ') from pins
    where regulations_version <> all($1::text[]) group by learner_id order by learner_id
"""
_KEPT = (
    "insert into shadow_eligibilities select learner_id, titles from eligibilities where learner_id = any($1::uuid[])"
)
_AWARDED = """
    select learner_id, array_agg(level), array_agg(title) from awards where state = any($1::text[]) group by learner_id
"""

_DIFFERENT = """
    with everybody as (
        select learner_id, coalesce(kept.titles, '{}'::jsonb) as kept, coalesce(shadow.titles, '{}'::jsonb) as anew
        from eligibilities kept full join shadow_eligibilities shadow using (learner_id)
    ), by_level as (
        select learner_id, level, coalesce(kept -> level, '[]') as kept, coalesce(anew -> level, '[]') as anew
        from everybody, lateral (
            select jsonb_object_keys(kept) as level union select jsonb_object_keys(anew)
        ) levels where kept <> anew
    )
    select learner_id, title, title in (select jsonb_array_elements_text(anew)) as gained
    from by_level, lateral (
        select jsonb_array_elements_text(kept) as title union select jsonb_array_elements_text(anew)
    ) titles
    where (title in (select jsonb_array_elements_text(kept))) <> (title in (select jsonb_array_elements_text(anew)))
    order by learner_id, gained, title
"""

_BADGES = """
    select credits.learner_id, coalesce(achievements.name, credits.course_title) as name,
        badges.badge_id is null as gained
    from credits
    left join badges on badges.credit_id = credits.credit_id and badges.revoked_at is null
    left join achievements on achievements.achievement_id = credits.course_version_id
    where credits.course_version_id is not null and (badges.badge_id is not null) = exists (
        select from revocations where revocations.credit_id = credits.credit_id and not exists (
            select from reinstatements where reinstatements.credit_id = revocations.credit_id
            and reinstatements.reinstated_at >= revocations.revoked_at
        )
    )
    order by credits.learner_id, name
"""


_LONGEST_SECONDS: Final = 3600.0
"""The time limit, in seconds, of a statement that reads everything there is."""


@dataclass(frozen=True)
class Difference:
    """What one learner would gain or lose if what is stored were derived anew. `kind`: title, badge, documents, or
    regulations: they are pinned to versions this release does not know, and cannot be derived."""

    learner_id: UUID
    kind: str
    name: str
    gained: bool


async def differences(database: Database) -> AsyncGenerator[Difference]:
    """Yield every difference between what is stored and what the facts give; changes nothing."""
    now = database.clock()
    connection = await connect_driver(database.url, answer_seconds=_LONGEST_SECONDS, statement_timeout="0")
    try:
        async with connection.transaction(isolation="repeatable_read"):  # facts arrive between two statements
            await fill_shadow(connection, now)
            titles, badges = await connection.fetch(_DIFFERENT), await connection.fetch(_BADGES)
            unknown = await _of_unknown_regulations(connection)
        for learner_id, name in unknown.items():
            yield Difference(learner_id, "regulations", name, gained=False)
        for learner_id, title, gained in titles:
            yield Difference(learner_id, "title", title, gained)
        for learner_id, name, gained in badges:
            yield Difference(learner_id, "badge", name, gained)
    finally:
        await connection.close()
    last: UUID | None = None
    while True:
        async with database.transaction() as session:
            await session.execute(text("set transaction isolation level repeatable read"))
            learner_ids = await credited_learners(session, last, _DOCUMENTS_AT_ONCE)
            for learner_id in learner_ids:
                if learner_id in unknown:
                    continue
                if await documents.are_stale(session, await record_of(session, learner_id, now)):
                    yield Difference(learner_id, "documents", "a new edition of what is made out", gained=True)
        if len(learner_ids) < _DOCUMENTS_AT_ONCE:
            return
        last = learner_ids[-1]


class VersionsDiffer(RuntimeError):
    """One pass over the ledger serves all versions of the regulations only where they count the same credit."""


async def fill_shadow(connection: Any, now: datetime) -> int:  # Any: asyncpg ships no types
    """Store what every learner may claim in a shadow table of this connection. Returns how many learners there are."""
    await connection.execute(
        "create temporary table if not exists shadow_eligibilities (learner_id uuid primary key, titles jsonb not null)"
    )
    await connection.execute("truncate shadow_eligibilities")
    await connection.set_type_codec("jsonb", encoder=bytes, decoder=bytes, schema="pg_catalog", format="binary")
    current = regulations.in_force(now)
    if len({(one.framework_level, one.module_credits) for one in regulations.versions.all.values()}) > 1:
        raise VersionsDiffer("versions count credit in modules of different sizes")
    pinned = {row[0]: frozenset(row[1]) for row in await connection.fetch(_PINNED)}
    unknown = await _of_unknown_regulations(connection)
    await connection.execute(_KEPT, list(unknown))
    awarded = {row[0]: set(zip(row[1], row[2], strict=True)) for row in await connection.fetch(_AWARDED, list(LIVE))}
    rows = await connection.fetch(
        _SUMS,
        now,
        list(LIVE),
        current.framework_level,
        current.module_credits,
        [CreditStatus.COMMITTED, CreditStatus.CONSUMED],
    )
    copied = 0
    for chunk in _chunks(rows, _AT_ONCE):
        records = [
            (row[0], _packed(row, regulations.claimable(pinned.get(row[0], frozenset()), now), awarded.get(row[0])))
            for row in chunk
            if row[0] not in unknown
        ]
        await connection.copy_records_to_table(
            "shadow_eligibilities", records=records, columns=["learner_id", "titles"]
        )
        copied += len(records)
        await asyncio.sleep(0)
    return copied


async def _of_unknown_regulations(connection: Any) -> dict[UUID, str]:  # Any: asyncpg ships no types
    return dict(await connection.fetch(_UNKNOWN, list(regulations.versions.all)))


def _packed(row: Sequence[Any], versions: Sequence[Regulations], awarded: set[tuple[str, str]] | None) -> bytes:
    # Any: the columns' own types
    _, subjects, highest, own, external = row
    found: dict[str, dict[str, None]] = {}
    for version in versions:
        for level in version.levels:
            totals = _totals(subjects, highest, own, external, below=level.credits)
            at_level = found.setdefault(level.code, {})
            for title in eligibility.titles(totals, level, version):
                if awarded is None or (level.code, title) not in awarded:
                    at_level[title] = None
    # jsonb's binary form: a version number, then the text
    return b"\x01" + orjson.dumps({level: list(titles) for level, titles in found.items()})


def _totals(
    subjects: Sequence[str], highest: Sequence[int], own: Sequence[int], external: Sequence[int], *, below: int
) -> Totals:
    """Return the totals that are free for a level of `below` credits: credit under no award, or only under lower
    ones."""
    if not any(highest):
        return tuple(zip(subjects, own, external, strict=True))
    summed: dict[str, tuple[int, int]] = {}
    for subject, above, of_own, of_external in zip(subjects, highest, own, external, strict=True):
        if above < below:
            known = summed.get(subject, (0, 0))
            summed[subject] = (known[0] + of_own, known[1] + of_external)
    return tuple((subject, *counts) for subject, counts in summed.items())


def _chunks(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:  # Any: database rows
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


async def apply(database: Database, learner_ids: Iterable[UUID], *, signed_off_by: str) -> int:
    """Derive these learners anew, each in a transaction of their own that announces what changed. Returns how many."""
    began_at = database.clock()
    count = 0
    for learner_id in learner_ids:
        async with database.transaction() as session:
            await advisory_lock(session, "learner", learner_id)
            await rebuild(session, learner_id)
        count += 1
    async with database.transaction() as session:
        await note(session, began_at, database.clock(), count, signed_off_by)
    return count


async def note(session: AsyncSession, began_at: datetime, finished_at: datetime, learners: int, by: str) -> None:
    """Record who signed a rebuild off."""
    session.add(
        Rebuild(rebuild_id=new_id(), signed_off_by=by, began_at=began_at, finished_at=finished_at, learners=learners)
    )
