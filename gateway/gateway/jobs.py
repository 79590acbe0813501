"""What the gateway does when time passes."""

from datetime import timedelta
from typing import Final

from gateway.adapters.vault import Vault
from gateway.tokens import active_key
from shared.batches import delete_in_batches
from shared.jobs import REMOVES, Jobs, Work

jobs = Jobs()

_KEPT: Final = timedelta(days=7)
_SIGN_INS_AT_ONCE: Final = 50
"""Each may have some thousand refresh tokens, which go with it."""


@jobs.every(3600, effect=REMOVES)
async def forget_ended_sign_ins(work: Work) -> None:
    """Sessions that ended a week ago, with their refresh tokens."""
    before = work.now() - _KEPT
    for when in ("expires_at", "ended_at"):
        await delete_in_batches(
            work.database, "sign_ins", f"{when} < :before", by=when, most=_SIGN_INS_AT_ONCE, before=before
        )


@jobs.every(600)
async def keep_signing_keys(work: Work) -> None:
    """Nobody can verify anything before there is a key, so the first ones are made at the first start.

    :raises SigningKeyUnreadable: the database comes from where another wrapping key is in use
    """
    vault = work.resource(Vault)
    async with work.database.transaction() as session:
        key = await active_key(session, vault, work.now())
    vault.open_key(key.kid, key.sealed_private)
