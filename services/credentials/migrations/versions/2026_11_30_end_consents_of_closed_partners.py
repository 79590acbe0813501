"""End the consents of closed partners, and write to none of their addresses."""

from alembic import op

revision = "credentials_closed_partners"
down_revision = "credentials_erase_revoked"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        update shares set expires_at = partners.closed_at from partners
        where partners.client_id = shares.client_id and partners.closed_at < shares.expires_at
        and shares.withdrawn_at is null
    """)
    op.execute("""
        update webhook_endpoints set disabled_at = partners.closed_at, disabled_reason = 'partner_closed' from partners
        where partners.client_id = webhook_endpoints.client_id and partners.closed_at is not null
        and webhook_endpoints.disabled_at is null
    """)
