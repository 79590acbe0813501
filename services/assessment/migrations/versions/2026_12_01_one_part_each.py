"""Learner, marker, moderator, panel and board of one result are different persons, in whatever order they act."""

from alembic import op

revision = "assessment_one_part_each"
down_revision = "assessment_keep_when_bytes_came"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Boards, too, that no longer stand in a row of the result: a revocation that was reversed, and who reversed it.
    # The code reads it as well, so that both ask the same.
    op.execute("""
        create function parts_in_result(attempt uuid) returns table (part text, person text, is_repeatable boolean)
        language sql stable as $$
            select 'learner', learner_id::text, false from attempts where attempt_id = attempt
            union all
            select case stage when 'first' then 'marker' else 'moderator' end, marked_by, stage <> 'first'
            from marks where attempt_id = attempt
            union all
            select 'panel', decided_by, false
            from misconduct_cases where attempt_id = attempt and decided_by is not null
            union all
            select 'board', boards.decided_by, true
            from attempts join boards on boards.board_id = attempts.board_id where attempts.attempt_id = attempt
            union all
            select 'board', boards.decided_by, true
            from credits join boards on boards.board_id = any (array[credits.board_id, credits.revocation_board_id])
            where credits.attempt_id = attempt
            union all
            select 'board', decisions.actor, true
            from credits join decisions on decisions.subject_id = credits.credit_id
            where credits.attempt_id = attempt and decisions.kind in ('credit_revoked', 'credit_reinstated')
        $$
    """)
    op.execute("drop trigger attempts_same_person on attempts")
    op.execute("drop trigger marks_same_person on marks")
    op.execute("drop trigger credits_same_person on credits")
    # Only these triggers called them.
    for function in ("refuse_same_person()", "was_judged_by(uuid, uuid)", "has_other_stage(uuid, text, text)"):
        op.execute(f"-- squawk-ignore ban-drop-function\ndrop function {function}")
    # Who acts at the same moment in another part waits for the lock, and is seen by what is read after it.
    op.execute("""
        create function must_be_another(attempt uuid, actor text, acts_as text, about text) returns void
        language plpgsql as $$
        begin
            perform from attempts where attempt_id = attempt for no key update;
            if exists (
                select from parts_in_result(attempt) had
                where had.person = actor and not (had.part = acts_as and had.is_repeatable)
            ) then
                raise exception '%: one person acts twice on one result', about
                    using errcode = 'check_violation', constraint = 'ck_' || about || '_same_person';
            end if;
        end $$
    """)
    op.execute("""
        create function marks_same_person() returns trigger language plpgsql as $$
        begin
            perform must_be_another(
                new.attempt_id, new.marked_by, case new.stage when 'first' then 'marker' else 'moderator' end, 'marks'
            );
            return new;
        end $$
    """)
    op.execute("""
        create trigger marks_same_person before insert on marks
        for each row execute function marks_same_person()
    """)
    op.execute("""
        create function misconduct_cases_same_person() returns trigger language plpgsql as $$
        begin
            if tg_op = 'INSERT' or new.decided_by is distinct from old.decided_by then
                perform must_be_another(new.attempt_id, new.decided_by, 'panel', 'misconduct_cases');
            end if;
            return new;
        end $$
    """)
    op.execute("""
        create trigger misconduct_cases_same_person before insert or update of decided_by on misconduct_cases
        for each row when (new.decided_by is not null) execute function misconduct_cases_same_person()
    """)
    op.execute("""
        create function attempts_same_person() returns trigger language plpgsql as $$
        begin
            if new.board_id is distinct from old.board_id then
                perform must_be_another(new.attempt_id, decided_by, 'board', 'attempts')
                from boards where board_id = new.board_id;
            end if;
            if new.learner_id <> old.learner_id then
                perform must_be_another(new.attempt_id, new.learner_id::text, 'learner', 'attempts');
            end if;
            return new;
        end $$
    """)
    op.execute("""
        create trigger attempts_same_person before update of board_id, learner_id on attempts
        for each row execute function attempts_same_person()
    """)
    # The panel that takes credit does so under its own minutes; later decisions are a board's.
    op.execute("""
        create function credits_same_person() returns trigger language plpgsql as $$
        begin
            if new.revocation_board_id is distinct from old.revocation_board_id then
                perform must_be_another(new.attempt_id, boards.decided_by, 'board', 'credits')
                from boards where boards.board_id = new.revocation_board_id and not exists (
                    select from misconduct_cases judged
                    where judged.attempt_id = new.attempt_id and judged.outcome = 'credit_revoked'
                        and judged.decided_by = boards.decided_by
                        and judged.minutes_reference = boards.minutes_reference
                );
            end if;
            return new;
        end $$
    """)
    op.execute("""
        create trigger credits_same_person before update of revocation_board_id on credits
        for each row when (new.revocation_board_id is not null) execute function credits_same_person()
    """)
    # Which board gave credit back stands in the record alone. A credit that a restored database lost has no row.
    op.execute("""
        create function decisions_same_person() returns trigger language plpgsql as $$
        begin
            perform must_be_another(attempt_id, new.actor, 'board', 'decisions')
            from credits where credit_id = new.subject_id;
            return new;
        end $$
    """)
    op.execute("""
        create trigger decisions_same_person before insert on decisions
        for each row when (new.kind = 'credit_reinstated') execute function decisions_same_person()
    """)
