"""Commands on signing keys: rotation and withdrawal."""

from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.adapters import signing_keys
from gateway.commands.tokens import active_key, add_key
from gateway.domain.keys import KeyInUse, KeyState
from gateway.tables import SigningKey
from shared.database import advisory_lock, fetch, now
from shared.secret_box import SecretBox, SigningKeyUnreadable


async def rotate_keys(session: AsyncSession, secret_box: SecretBox) -> SigningKey:
    """Let the next key sign, and publish one to follow it. Returns the key that signs now.

    The old one verifies until its last token has expired. Verifiers have known the next key since the rotation before,
    so none of them has to fetch anything in time.
    """
    await advisory_lock(session, "signing_keys")
    instant = now(session)
    active = await active_key(session, secret_box, instant)
    following = await queries.signing_key(session, KeyState.NEXT)
    active.state, active.retired_at = KeyState.RETIRED.value, instant
    if following is not None and not _opens(secret_box, following):
        following.state, following.retired_at = KeyState.RETIRED.value, instant
        following = None
    await session.flush()
    if following is None:
        following = add_key(session, secret_box, KeyState.ACTIVE, instant)
    else:
        following.state, following.activated_at = KeyState.ACTIVE.value, instant
    await session.flush()
    add_key(session, secret_box, KeyState.NEXT, instant)
    await session.flush()
    return following


async def opens_active_key(session: AsyncSession, secret_box: SecretBox) -> bool:
    """Return whether the key that signs can be read, or is not made yet."""
    key = await queries.signing_key(session, KeyState.ACTIVE)
    return key is None or _opens(secret_box, key)


def _opens(secret_box: SecretBox, key: SigningKey) -> bool:
    """Whether the wrapping key in use decrypts the signing key; one sealed with another wrapping key it does not."""
    try:
        signing_keys.open_key(secret_box, key.kid, key.sealed_private)
    except SigningKeyUnreadable:
        return False
    return True


async def withdraw_key(session: AsyncSession, kid: str) -> SigningKey:
    """Withdraw a key at once, e.g. because it leaked: tokens it signed are refused once verifiers fetch the keys anew.

    :raises KeyInUse: 409, it is the one that signs
    """
    await advisory_lock(session, "signing_keys")
    key = await fetch(session, SigningKey, kid, lock=True)
    if key.state == KeyState.ACTIVE:
        raise KeyInUse("this key signs now; rotate first")
    instant = now(session)
    key.state, key.retired_at = KeyState.RETIRED.value, key.retired_at or instant
    key.withdrawn_at = key.withdrawn_at or instant
    await session.flush()
    return key
