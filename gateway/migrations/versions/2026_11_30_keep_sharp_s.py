"""Addresses are unique in lower case, not by folding, which made one of ß and ss."""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "gateway_6"
down_revision = "gateway_5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().as_sql:  # as SQL alone this cannot be said: the database's lower() depends on its locale
        return
    connection = op.get_bind()
    folded = connection.execute(
        sa.text("select account_id, email, email_key from accounts where closed_at is null and email ~ '[^[:ascii:]]'")
    )
    for account_id, email, key in folded.all():
        lower = unicodedata.normalize("NFC", email.strip()).lower()
        if lower != key:  # never another's: whoever folds alike was refused so far
            connection.execute(
                sa.text("update accounts set email_key = :key where account_id = :id"), {"key": lower, "id": account_id}
            )
