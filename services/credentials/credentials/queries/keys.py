"""The issuer's keys: which are published, which one signs, and what carries their signatures."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.domain.keys import PUBLISHED, KeyState
from credentials.tables.issued import Badge, StatusList
from credentials.tables.keys import KeyEvent, SigningKey
from openbadges.dids import did_document, multikey, p256_jwk
from openbadges.keys import Suite


async def published_keys(session: AsyncSession, did: str) -> Sequence[SigningKey]:
    """Return every key the issuer publishes: the active ones, the next ones ahead of time, and the retired ones."""
    statement = (
        select(SigningKey).where(SigningKey.did == did, SigningKey.state.in_(PUBLISHED)).order_by(SigningKey.created_at)
    )
    return (await session.scalars(statement)).all()


async def issuer_document(session: AsyncSession, did: str) -> dict[str, Any]:  # Any: JSON
    """Return the issuer's DID document as it is published.

    The active keys come first: some verifiers take the first one for a token's.
    """
    return _document(did, sorted(await published_keys(session, did), key=lambda key: key.state != KeyState.ACTIVE))


async def document_with_lost_keys(session: AsyncSession, did: str) -> dict[str, Any]:  # Any: JSON
    """Return the issuer's DID document as if no key had been struck out.

    It serves what is read from our own records alone: from anywhere else a lost key's signature proves nothing.
    """
    return _document(did, (await session.scalars(keys_query(did))).all())


def _document(did: str, keys: Sequence[SigningKey]) -> dict[str, Any]:  # Any: JSON
    return did_document(
        did,
        [(key.verification_method, multikey(key.public_key)) for key in keys if key.suite == Suite.EDDSA_RDFC_2022],
        [(key.verification_method, p256_jwk(key.public_key)) for key in keys if key.suite == Suite.ES256],
    )


async def is_signed_with_lost_key(session: AsyncSession, badge_id: UUID) -> bool:
    """Return whether a badge carries the signature of a key that was struck out, and waits to be signed anew."""
    key = SigningKey
    statement = (
        select(key.state)
        .join(Badge, Badge.signed_with == key.verification_method)
        .where(Badge.badge_id == badge_id, key.state == KeyState.COMPROMISED)
    )
    return await session.scalar(statement) is not None


async def key_in_state(session: AsyncSession, did: str, suite: Suite | str, state: KeyState) -> SigningKey | None:
    """Return the active or next key of a suite, of which there is at most one."""
    key = SigningKey
    return await session.scalar(select(key).where(key.did == did, key.suite == suite, key.state == state))


async def active_key(session: AsyncSession, did: str) -> SigningKey | None:
    """Return the key that signs embedded proofs."""
    return await key_in_state(session, did, Suite.EDDSA_RDFC_2022, KeyState.ACTIVE)


def keys_query(did: str) -> Select[SigningKey]:
    return select(SigningKey).where(SigningKey.did == did)


async def history_of(session: AsyncSession, methods: Sequence[str]) -> Sequence[KeyEvent]:
    """Return what was done to these keys, in order."""
    statement = (
        select(KeyEvent).where(KeyEvent.verification_method.in_(methods)).order_by(KeyEvent.at, KeyEvent.event_id)
    )
    return (await session.scalars(statement)).all()


async def carriers_of(session: AsyncSession, verification_method: str) -> int:
    """Return how many badges and status lists carry a signature of this key now."""
    badge, status_list = Badge, StatusList
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
