"""Lines that were given up before their payment was lost, and that another payment left out, are owed nothing back.

The release before noted them as cancelled refunds of the lost payment, which go on once it is there again; this one
notes that the other payment does not pay for them. They are found by the transaction in which that payment came, and by
never having been owed: nothing was posted for them. One that the release before writes while both run stays as it is,
and its money goes back should the lost payment come.
"""

from alembic import op

revision = "payments_not_paid_for"
down_revision = "payments_delayed_refunds"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        update refunds note
        set payment_id = paying.payment_id, reason_code = 'not_paid_for', revision = note.revision + 1
        from payments paying
        join ledger_postings posted on posted.payment_id = paying.payment_id and posted.kind = 'sold_again'
        where note.reason_code = 'activation_impossible' and note.requested_by = 'policy' and note.status = 'cancelled'
            and note.order_line_id is not null
            and paying.order_id = note.order_id and paying.payment_id <> note.payment_id
            and note.requested_at between paying.funded_at and posted.posted_at
            and not exists (
                select from refunds other
                where other.order_line_id = note.order_line_id and other.payment_id = paying.payment_id
            )
            and not exists (select from ledger_postings owed where owed.refund_id = note.refund_id)
    """)
