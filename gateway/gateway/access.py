"""The access table of the gateway's own operations."""

from gateway.domain.accounts import ROLES, OwnGrant
from shared.access import Access, Own, anyone, owner, staff

ACCESS: Access = {
    "open_account": anyone(),
    "sign_in": anyone(),
    "sign_in_from_outside": anyone(),
    "refresh_sign_in": anyone(),  # the refresh token is the proof
    "sign_out": anyone(),
    "read_own_account": owner(*ROLES),
    "list_accounts": staff("operator", own=Own.SEEN),
    "set_roles": staff("operator", own=OwnGrant),
    "list_role_grants": staff("operator", own=Own.SEEN),
    "confirm_role_grant": staff("operator", own=OwnGrant),
    "refuse_role_grant": staff("operator", own=OwnGrant),
    "issue_partner_token": anyone(),  # the client's secret is the proof
    "register_partner": staff("operator", own=Own.NOBODYS),
    "list_partners": staff("operator", own=Own.NOBODYS),
    "close_partner": staff("operator", own=Own.NOBODYS),
    "add_partner_secret": staff("operator", own=Own.NOBODYS),
    "withdraw_partner_secret": staff("operator", own=Own.NOBODYS),
    "read_signing_keys": anyone(any_origin=True),
}
