"""The gateway's own operations: accounts, role grants, sign-in, partners."""

from gateway.api import accounts, grants, partners, sessions

routers = (accounts.router, grants.router, sessions.router, partners.router)
