"""What the gateway does when time passes."""

from datetime import timedelta
from typing import Final

from sqlalchemy import delete

from gateway.adapters.vault import Vault
from gateway.tables import SignIn
from gateway.tokens import active_key
from shared.jobs import Jobs, Work

jobs = Jobs()

_KEPT: Final = timedelta(days=7)


@jobs.every(3600)
async def forget_ended_sign_ins(work: Work) -> None:
    """Sessions that ended a week ago, with their refresh tokens."""
    before = work.now() - _KEPT
    async with work.database.transaction() as session:
        await session.execute(delete(SignIn).where((SignIn.expires_at < before) | (SignIn.ended_at < before)))


@jobs.every(3600)
async def keep_signing_keys(work: Work) -> None:
    """Nobody can verify anything before there is a key, so the first ones are made at the first start."""
    async with work.database.transaction() as session:
        await active_key(session, work.resource(Vault), work.now())
