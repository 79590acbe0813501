"""Credit given back on appeal, and revoked again if need be; payments in dispute."""

from alembic import op

revision = "credentials_8"
down_revision = "credentials_7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Wider than before: the release before inserts and reads as it did.
    op.execute("""
        -- squawk-ignore ban-drop-constraint
        alter table revocations drop constraint pk_revocations,
            add constraint pk_revocations primary key (credit_id, revoked_at)
    """)
    op.execute("""
        create table reinstatements (
            credit_id uuid not null,
            reinstated_at timestamptz not null,
            learner_id uuid not null,
            reason_code text not null,
            board_id uuid not null,
            constraint pk_reinstatements primary key (credit_id, reinstated_at)
        )
    """)
    op.execute(
        "create trigger tr_reinstatements_append_only before update or delete on reinstatements "
        "for each row execute function refuse_change()"
    )
    op.execute("""
        create table disputes (
            dispute_id uuid constraint pk_disputes primary key,
            learner_id uuid not null,
            opened_at timestamptz,
            closed_at timestamptz
        )
    """)
    op.execute("create index ix_disputes_open on disputes (learner_id) where closed_at is null")
