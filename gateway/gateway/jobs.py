"""The gateway's jobs."""

from datetime import timedelta
from typing import Final

from gateway.adapters import signing_keys
from gateway.commands.tokens import active_key
from shared.batches import delete_in_batches
from shared.jobs import REMOVES, Jobs, Work
from shared.secret_box import SecretBox

jobs = Jobs()

_KEPT: Final = timedelta(days=7)
_SIGN_INS_AT_ONCE: Final = 50
"""Sessions deleted in one transaction: each may have some thousand refresh tokens, which go with it."""


@jobs.every(3600, effect=REMOVES)
async def forget_ended_sign_ins(work: Work) -> None:
    """Delete sessions that ended or expired a week ago, with their refresh tokens."""
    before = work.now() - _KEPT
    for when in ("expires_at", "ended_at"):
        await delete_in_batches(
            work.database, "sign_ins", f"{when} < :before", by=when, most=_SIGN_INS_AT_ONCE, before=before
        )


@jobs.every(600)
async def keep_signing_keys(work: Work) -> None:
    """Make the first signing keys at the first start, and check that the active one can be read.

    Nobody can verify a token before there is a key.

    :raises SigningKeyUnreadable: the key was sealed with another wrapping key
    """
    secret_box = work.resource(SecretBox)
    async with work.database.transaction() as session:
        key = await active_key(session, secret_box, work.now())
    signing_keys.open_key(secret_box, key.kid, key.sealed_private)
