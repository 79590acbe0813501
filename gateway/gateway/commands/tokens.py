"""Access tokens: short-lived JWTs (RFC 9068), signed by the active signing key."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.adapters import signing_keys
from gateway.domain.keys import KeyState, published
from gateway.tables import SigningKey
from shared.access import LEEWAY_SECONDS
from shared.database import advisory_lock
from shared.ids import new_id
from shared.secret_box import SecretBox

LONGEST_LIFE = timedelta(minutes=10)


class TokenIssuer:
    """Signs access tokens. Both lives are at most ten minutes: a token cannot be taken back before it expires.

    :raises ValueError: a life is longer, or not positive
    """

    def __init__(
        self, secret_box: SecretBox, *, issuer: str, audience: str, life: timedelta, partner_life: timedelta
    ) -> None:
        if not timedelta(0) < life <= LONGEST_LIFE or not timedelta(0) < partner_life <= LONGEST_LIFE:
            raise ValueError("an access token lives ten minutes at most")
        self._secret_box = secret_box
        self._issuer = issuer
        self._audience = audience
        self.life = life
        self.partner_life = partner_life

    async def for_person(self, session: AsyncSession, account_id: UUID, roles: list[str], now: datetime) -> str:
        return await self._sign(session, {"sub": str(account_id), "roles": roles}, now, self.life)

    async def for_partner(self, session: AsyncSession, client_id: str, scopes: tuple[str, ...], now: datetime) -> str:
        claims = {"sub": client_id, "client_id": client_id, "scope": " ".join(scopes)}
        return await self._sign(session, claims, now, self.partner_life)

    async def _sign(
        self,
        session: AsyncSession,
        claims: dict[str, Any],  # Any: JSON
        now: datetime,
        life: timedelta,
    ) -> str:
        key = await active_key(session, self._secret_box, now)
        issued = int(now.timestamp())
        return jwt.encode(
            {
                "iss": self._issuer,
                "aud": self._audience,
                "iat": issued,
                "nbf": issued,
                "exp": issued + int(life.total_seconds()),
                "jti": str(new_id()),
                **claims,
            },
            signing_keys.open_key(self._secret_box, key.kid, key.sealed_private),
            algorithm="EdDSA",
            headers={"typ": "at+jwt", "kid": key.kid},
        )


async def active_key(session: AsyncSession, secret_box: SecretBox, now: datetime) -> SigningKey:
    """Return the key that signs. Where there is none yet, it is made, and the next one with it."""
    key = await queries.signing_key(session, KeyState.ACTIVE)
    if key is None:
        await advisory_lock(session, "signing_keys")
        key = await queries.signing_key(session, KeyState.ACTIVE)
    if key is None:
        key = add_key(session, secret_box, KeyState.ACTIVE, now)
        add_key(session, secret_box, KeyState.NEXT, now)
        await session.flush()
    return key


def add_key(session: AsyncSession, secret_box: SecretBox, state: KeyState, now: datetime) -> SigningKey:
    kid, jwk, sealed = signing_keys.new_key(secret_box)
    key = SigningKey(
        kid=kid,
        state=state.value,
        public_jwk=jwk,
        sealed_private=sealed,
        created_at=now,
        activated_at=now if state is KeyState.ACTIVE else None,
        retired_at=None,
        withdrawn_at=None,
    )
    session.add(key)
    return key


async def key_set(session: AsyncSession, now: datetime) -> dict[str, Any]:  # Any: JSON
    """Return the JWK set (RFC 7517) by which anybody can verify our tokens."""
    overlap = LONGEST_LIFE + timedelta(seconds=LEEWAY_SECONDS)
    rows = await queries.signing_keys(session)
    return {"keys": [row.public_jwk for row in rows if published(queries.as_key(row), now, overlap)]}
