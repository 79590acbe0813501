"""Who may do what at the gateway itself."""

from gateway.domain.accounts import ROLES
from shared.access import Access, anyone, owner, staff

ACCESS: Access = {
    "open_account": anyone(),
    "sign_in": anyone(),
    "sign_in_from_outside": anyone(),
    "refresh_sign_in": anyone(),  # the refresh token is the proof
    "sign_out": anyone(),
    "read_own_account": owner(*ROLES),
    "list_accounts": staff("operator"),
    "set_roles": staff("operator"),
    "issue_partner_token": anyone(),  # the client's secret is the proof
    "register_partner": staff("operator"),
    "list_partners": staff("operator"),
    "close_partner": staff("operator"),
    "add_partner_secret": staff("operator"),
    "withdraw_partner_secret": staff("operator"),
    "read_signing_keys": anyone(any_origin=True),
}
