"""Badges of awards that stated another learner's reason: what the migration makes of them."""

from sqlalchemy import text

from embedded.services import versions_of
from shared.ids import new_id
from shared.migrate import migrate
from shared.testing.migrations import migrated_until

REASON = "{} Awarded under mc-regs-2026.2."
AWARD = """
    insert into awards (
        award_id, learner_id, level, title, rule, reason, regulations_version, credits, classification, state,
        claimed_at, reserved_until, conferred_at, certificate_number
    ) values (
        :award, gen_random_uuid(), 'pgdip', 'PGDip in Law', 'rule', :reason, 'mc-regs-2026.2', 120, 'Pass', 'conferred',
        now(), now(), now(), gen_random_uuid()
    )
"""
ACHIEVEMENT = """
    insert into achievements (achievement_id, kind, name, code, description, criteria, credits, level, skills)
    values (:id, 'Diploma', 'PGDip in Law', 'PGDip', 'About it.', :criteria, 120, 7, '{"items": []}')
"""
PLACE = "insert into badge_places (list_number, list_index, badge_id, version) values (1, :place, :badge, 1)"
BADGE = """
    insert into badges (
        badge_id, learner_id, achievement_id, award_id, subject, list_number, list_index, version, due, awarded_at,
        document, token, issued_at, signed_at, revoked_at
    ) values (
        :badge, gen_random_uuid(), :achievement, :award, 'urn:x', 1, :place, 1, :due, now(),
        case when :signed then '{}'::jsonb end, case when :signed then 'token' end,
        case when :signed then now() end, case when :signed then now() end, case when :revoked then now() end
    )
"""
SHOWN = """
    select award.reason, criteria, version, due, place.list_index from badges badge
    join awards award using (award_id) join achievements using (achievement_id)
    join badge_places place using (badge_id, version) where badge_id = :id and place.list_index = badge.list_index
"""


async def test_a_badge_that_states_anothers_reason_is_corrected_and_no_other(make_database):
    url, versions = await make_database(f"reasons_{new_id().hex[-12:]}"), versions_of("credentials")
    engine = await migrated_until(url, versions, "credentials_28")
    achievement, badges = new_id(), {}
    async with engine.begin() as connection:
        await connection.execute(text("insert into status_lists (number) values (1) on conflict do nothing"))
        await connection.execute(text(ACHIEVEMENT), {"id": achievement, "criteria": REASON.format("All of it.")})
        for status_entry, (reason, signed, revoked) in enumerate(
            [("All of it.", True, False), ("Most of it.", True, False), ("Most of it.", True, False),
             ("Half of it.", False, False), ("Most of it.", True, True)]
        ):  # fmt: skip
            award, badge = new_id(), new_id()
            badges[status_entry] = badge
            await connection.execute(text(AWARD), {"award": award, "reason": reason})
            await connection.execute(text(PLACE), {"place": status_entry, "badge": badge})
            await connection.execute(
                text(BADGE),
                {
                    "badge": badge, "achievement": achievement, "award": award, "place": status_entry,
                    "due": None if signed else "issue", "signed": signed, "revoked": revoked,
                },
            )  # fmt: skip
    await migrate(url, versions)
    async with engine.connect() as connection:
        shown = [
            (await connection.execute(text(SHOWN), {"id": badges[status_entry]})).one() for status_entry in range(5)
        ]
    await engine.dispose()
    for row in shown[:4]:
        assert row.criteria == REASON.format(row.reason)
    assert shown[4].criteria == REASON.format("All of it."), "revoked: it stays as it was"
    assert [(row.version, row.due) for row in shown] == [
        (1, None), (2, "correction"), (2, "correction"), (1, "issue"), (1, None),
    ]  # fmt: skip
    assert [shown[status_entry].list_index == status_entry for status_entry in range(5)] == [
        True,
        False,
        False,
        True,
        True,
    ]
