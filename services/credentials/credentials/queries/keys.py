"""The issuer's keys: which are published, which one signs, and what carries their signatures."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from credentials.domain.dids import did_document, multikey, p256_jwk
from credentials.domain.keys import PUBLISHED, KeyState, Suite


async def published_keys(session: AsyncSession, did: str) -> Sequence[tables.SigningKey]:
    """Return every key the issuer publishes: the active ones, the next ones ahead of time, and the retired ones."""
    statement = (
        select(tables.SigningKey)
        .where(tables.SigningKey.did == did, tables.SigningKey.state.in_(PUBLISHED))
        .order_by(tables.SigningKey.created_at)
    )
    return (await session.scalars(statement)).all()


async def issuer_document(session: AsyncSession, did: str) -> dict[str, Any]:  # Any: JSON
    """Return the issuer's DID document as it is published.

    The active keys come first: some verifiers take the first one for a token's.
    """
    keys = sorted(await published_keys(session, did), key=lambda key: key.state != KeyState.ACTIVE)
    return did_document(
        did,
        [(key.verification_method, multikey(key.public_key)) for key in keys if key.suite == Suite.EDDSA_RDFC_2022],
        [(key.verification_method, p256_jwk(key.public_key)) for key in keys if key.suite == Suite.ES256],
    )


async def key_in_state(
    session: AsyncSession, did: str, suite: Suite | str, state: KeyState
) -> tables.SigningKey | None:
    """Return the active or next key of a suite, of which there is at most one."""
    key = tables.SigningKey
    return await session.scalar(select(key).where(key.did == did, key.suite == suite, key.state == state))


async def active_key(session: AsyncSession, did: str) -> tables.SigningKey | None:
    """Return the key that signs embedded proofs."""
    return await key_in_state(session, did, Suite.EDDSA_RDFC_2022, KeyState.ACTIVE)


def keys_query(did: str) -> Select[tables.SigningKey]:
    return select(tables.SigningKey).where(tables.SigningKey.did == did)


async def history_of(session: AsyncSession, methods: Sequence[str]) -> Sequence[tables.KeyEvent]:
    """Return what was done to these keys, in order."""
    statement = (
        select(tables.KeyEvent)
        .where(tables.KeyEvent.verification_method.in_(methods))
        .order_by(tables.KeyEvent.at, tables.KeyEvent.event_id)
    )
    return (await session.scalars(statement)).all()


async def carriers_of(session: AsyncSession, verification_method: str) -> int:
    """Return how many badges and status lists carry a signature of this key now."""
    badge, status_list = tables.Badge, tables.StatusList
    badges = await session.scalar(
        select(func.count()).where(
            or_(badge.signed_with == verification_method, badge.token_signed_with == verification_method)
        )
    )
    lists = await session.scalar(
        select(func.count()).where(
            or_(
                status_list.signed_with == verification_method,
                status_list.token_signed_with == verification_method,
            )
        )
    )
    return (badges or 0) + (lists or 0)
