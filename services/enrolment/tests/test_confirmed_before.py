"""Addresses that were in use before any was confirmed: what the migration makes of them."""

from sqlalchemy import text

from embedded.services import versions_of
from shared.ids import new_id
from shared.migrate import migrate
from shared.testing.migrations import migrated_until

LEARNER = """
    insert into learners (learner_id, country, contact_email, name_version, contact_version, registered_at)
    values (:id, 'GB', 'ada@example.org', 1, :version, now())
"""
EMAIL = """
    insert into letters (letter_id, kind, about, recipient, subject, text)
    values (gen_random_uuid(), 'contact_changed', :about, 'old@example.org', '', '')
"""


async def test_what_took_anothers_place_by_a_code_is_confirmed_and_nothing_else(make_database):
    url, versions = await make_database(f"before_{new_id().hex[-12:]}"), versions_of("enrolment")
    first, moved, moved_unproven = new_id(), new_id(), new_id()
    engine = await migrated_until(url, versions, "enrolment_3")
    async with engine.begin() as connection:
        for learner, version in ((first, 1), (moved, 3), (moved_unproven, 2)):
            await connection.execute(text(LEARNER), {"id": learner, "version": version})
        await connection.execute(text(EMAIL), {"about": f"{moved} 3"})
        await connection.execute(text(EMAIL), {"about": f"{moved_unproven} 1"})
    await migrate(url, versions)
    async with engine.connect() as connection:
        confirmed = await connection.scalars(
            text("select learner_id from learners where contact_confirmed_at is not null")
        )
        assert list(confirmed) == [moved]
    await engine.dispose()
