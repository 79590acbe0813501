"""Work that waits for a mark is found by an index of its own, and an attempt's files by the attempt.

The database keeps `awaits_mark` itself, so that it holds for the release before this one too.
"""

from alembic import op

revision = "assessment_6"
down_revision = "assessment_5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table submissions add column awaits_mark boolean not null default false")
    op.execute("""
        create function keep_awaits_mark() returns trigger language plpgsql as $$
        begin
            if tg_table_name = 'submissions' then
                new.awaits_mark := new.state = 'current' and exists (
                    select from attempts where attempt_id = new.attempt_id and state = 'submitted'
                );
                return new;
            end if;
            update submissions set awaits_mark = new.state = 'submitted'
            where attempt_id = new.attempt_id and state = 'current';
            return null;
        end $$
    """)
    op.execute("""
        create trigger keep_awaits_mark before insert or update of state on submissions
        for each row execute function keep_awaits_mark()
    """)
    op.execute("""
        create trigger keep_awaits_mark after update of state on attempts
        for each row when ((old.state = 'submitted') <> (new.state = 'submitted')) execute function keep_awaits_mark()
    """)
    op.execute("""
        update submissions set awaits_mark = true
        where state = 'current' and attempt_id in (select attempt_id from attempts where state = 'submitted')
    """)
    op.execute("""
        create index ix_submissions_waiting on submissions (window_id, received_at, submission_id) where awaits_mark
    """)
    op.execute("create index ix_submissions_attempt_id on submissions (attempt_id)")
    op.execute("create index ix_submissions_learner_id on submissions (learner_id)")
    op.execute("create index ix_attempts_window_id on attempts (window_id, attempt_id)")
    op.execute("""
        create index ix_misconduct_cases_open on misconduct_cases (opened_at, case_id) where decided_at is null
    """)
