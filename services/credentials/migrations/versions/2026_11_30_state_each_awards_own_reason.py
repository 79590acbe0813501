"""Have the badges of awards corrected that state another learner's reason for the same title.

What such a badge recognises was one row a title, with the reason of whoever was conferred it first. Each that was
signed takes another place in the newest status list, as any correction does, so that copies of it are revoked.
"""

from alembic import op

revision = "credentials_reasons"
down_revision = "credentials_28"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("lock table badge_places in share row exclusive mode")  # nobody draws a place meanwhile
    op.execute("""
        with wrong as (
            select badge.badge_id, badge.version + 1 as version, stated.achievement_id as former,
                award.reason || ' Awarded under ' || award.regulations_version || '.' as criteria,
                md5(concat_ws(':', award.regulations_version, award.level, award.title, award.reason))::uuid as latter,
                badge.document is not null as signed,
                row_number() over (partition by badge.document is null order by badge.badge_id) as turn
            from badges badge join awards award using (award_id) join achievements stated using (achievement_id)
            where badge.revoked_at is null
            and stated.criteria <> award.reason || ' Awarded under ' || award.regulations_version || '.'
        ), free as (
            select newest.number, place.index, row_number() over (order by random()) as turn
            from (select max(number) as number from status_lists) newest, generate_series(0, 131071) as place (index)
            where exists (select from wrong where signed) and not exists (
                select from badge_places taken
                where taken.list_number = newest.number and taken.list_index = place.index
            )
        ), stated as (
            insert into achievements (
                achievement_id, course_id, kind, name, code, description, criteria, credits, level, skills, institution
            )
            select distinct on (latter) latter, course_id, kind, name, code, description, wrong.criteria, credits,
                level, skills, institution
            from wrong join achievements on achievement_id = former order by latter
            on conflict do nothing
        ), placed as (
            insert into badge_places (list_number, list_index, badge_id, version)
            select free.number, free.index, badge_id, version from wrong join free using (turn) where signed
            returning list_number, list_index, badge_id, version
        ), corrected as (
            update badges set list_number = placed.list_number, list_index = placed.list_index,
                version = placed.version, due = coalesce(due, 'correction'), achievement_id = latter
            from placed join wrong using (badge_id) where badges.badge_id = placed.badge_id
        )
        update badges set achievement_id = latter from wrong where wrong.badge_id = badges.badge_id and not signed
    """)
