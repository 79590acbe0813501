"""Who decided a case about a result is not its board, whatever the outcome."""

from alembic import op

revision = "assessment_8"
down_revision = "assessment_7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A case in which the credit was taken is the decision of a board itself.
    op.execute("""
        create or replace function was_judged_by(attempt uuid, board uuid) returns boolean language sql stable as $$
            select exists (
                select from boards where board_id = board and (
                    exists (select from marks where attempt_id = attempt and marked_by = decided_by)
                    or exists (
                        select from misconduct_cases judged
                        where judged.attempt_id = attempt and judged.decided_by = boards.decided_by
                            and judged.outcome <> 'credit_revoked'
                    )
                )
            )
        $$
    """)
