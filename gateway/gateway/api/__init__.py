"""The gateway's own operations."""

from gateway.api import accounts, partners, sessions

routers = (accounts.router, sessions.router, partners.router)
