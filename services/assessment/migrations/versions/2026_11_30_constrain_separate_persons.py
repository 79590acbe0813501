"""Marker, moderator, panel and board of one result are different persons, whatever the code does."""

from alembic import op

revision = "assessment_5"
down_revision = "assessment_4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index ix_misconduct_cases_attempt_id on misconduct_cases (attempt_id)")
    # What was decided before this rule stays as it was decided.
    op.execute("""
        alter table misconduct_cases add constraint ck_misconduct_cases_same_person
        check (decided_by <> opened_by) not valid
    """)
    op.execute("""
        create function refuse_same_person() returns trigger language plpgsql as $$
        begin
            raise exception '%: one person acts twice on one result', tg_table_name
                using errcode = 'check_violation', constraint = 'ck_' || tg_table_name || '_same_person';
        end $$
    """)
    op.execute("""
        create function was_judged_by(attempt uuid, board uuid) returns boolean language sql stable as $$
            select exists (
                select from boards where board_id = board and (
                    exists (select from marks where attempt_id = attempt and marked_by = decided_by)
                    or exists (
                        select from misconduct_cases judged
                        where judged.attempt_id = attempt and judged.decided_by = boards.decided_by
                            and judged.outcome = 'mark_zero'
                    )
                )
            )
        $$
    """)
    op.execute("""
        create function has_other_stage(attempt uuid, stage_given text, person text) returns boolean
        language sql stable as $$
            select exists (
                select from marks where attempt_id = attempt and marked_by = person and stage <> stage_given
            )
        $$
    """)
    op.execute("""
        create trigger marks_same_person before insert on marks for each row
        when (has_other_stage(new.attempt_id, new.stage, new.marked_by)) execute function refuse_same_person()
    """)
    op.execute("""
        create trigger attempts_same_person before update of board_id on attempts for each row
        when (new.board_id is distinct from old.board_id and was_judged_by(new.attempt_id, new.board_id))
        execute function refuse_same_person()
    """)
    op.execute("""
        create trigger credits_same_person before update of revocation_board_id on credits for each row
        when (was_judged_by(new.attempt_id, new.revocation_board_id)) execute function refuse_same_person()
    """)
