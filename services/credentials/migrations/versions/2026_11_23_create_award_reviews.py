"""Claims that are withdrawn or refused, awards that lost credit under review, and e-mails that wait for an address."""

from alembic import op

revision = "credentials_5"
down_revision = "credentials_4"
branch_labels = None
depends_on = None

STATES = ("claimed", "lapsed", "withdrawn", "refused", "conferred", "superseded", "rescinded")


def upgrade() -> None:
    # Wider than before: the release before writes only what it did.
    op.execute("-- squawk-ignore ban-drop-constraint\nalter table awards drop constraint ck_awards_state")
    op.execute(f"alter table awards add constraint ck_awards_state check (state in {STATES}) not valid")
    op.execute(
        "alter table awards add column ended_at timestamptz, add column ended_by uuid, add column end_reason text"
    )
    op.execute("""
        create table award_reviews (
            review_id uuid constraint pk_award_reviews primary key,
            award_id uuid not null constraint fk_award_reviews_award_id_awards references awards (award_id),
            learner_id uuid not null,
            opened_at timestamptz not null,
            decided_at timestamptz,
            decision text constraint ck_award_reviews_decision
                check (decision in ('substitute', 'rescind', 'rescind_and_offer', 'credit_reinstated')),
            reason_code text,
            decided_by uuid,
            outcome jsonb,
            constraint ck_award_reviews_decided check (
                (decided_at is null) = (decision is null) and (decided_at is null) = (reason_code is null)
                and (decision is null or decision = 'credit_reinstated' or decided_by is not null)
            )
        )
    """)
    op.execute("create unique index uq_award_reviews_award_id on award_reviews (award_id) where decided_at is null")
    op.execute("create index ix_award_reviews_learner_id on award_reviews (learner_id)")
    op.execute("""
        insert into award_reviews (review_id, award_id, learner_id, opened_at)
        select gen_random_uuid(), award_id, learner_id, under_review_since
        from awards where under_review_since is not null and state in ('conferred', 'superseded')
    """)
    op.execute("""
        create table notices (
            notice_id uuid constraint pk_notices primary key,
            learner_id uuid not null,
            kind text not null,
            about text not null,
            subject text not null,
            text text not null,
            created_at timestamptz not null,
            constraint uq_notices_kind_about unique (kind, about)
        )
    """)
    op.execute("create index ix_notices_learner_id on notices (learner_id)")
