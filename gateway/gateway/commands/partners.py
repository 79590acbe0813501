"""Partner clients and their tokens."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.domain import partners as rules
from gateway.domain.sessions import fingerprint
from gateway.tables import Partner, PartnerSecret
from gateway.tokens import Minter
from shared.database import fetch, now
from shared.events.gateway import PartnerClosed, PartnerRegistered
from shared.ids import new_id
from shared.messaging import publish


@dataclass(frozen=True, slots=True)
class PartnerToken:
    access_token: str
    expires_in: int
    scopes: tuple[str, ...]


async def register_partner(session: AsyncSession, name: str, scopes: Iterable[str]) -> tuple[Partner, str]:
    """A new client and its first secret, which is shown this once.

    :raises UnknownScope: 422
    """
    partner = Partner(
        client_id=f"mcp_{new_id().hex}",
        name=name,
        scopes=list(rules.check_scopes(scopes)),
        registered_at=now(session),
        closed_at=None,
    )
    session.add(partner)
    await session.flush()
    publish(
        session,
        PartnerRegistered(
            client_id=partner.client_id,
            name=name,
            scopes=tuple(partner.scopes),
            registered_at=partner.registered_at,
        ),
    )
    return partner, await add_secret(session, partner.client_id)


async def add_secret(session: AsyncSession, client_id: str) -> str:
    """A further secret, so that the partner can change over without a gap.

    :raises TooManyClientSecrets: 409, two live already
    """
    await fetch(session, Partner, client_id, lock=True)
    if len(await queries.live_secrets(session, [client_id])) >= rules.LIVE_SECRETS:
        raise rules.TooManyClientSecrets(f"{rules.LIVE_SECRETS} secrets live already; withdraw one first")
    secret = rules.new_secret()
    session.add(
        PartnerSecret(
            secret_sha256=fingerprint(secret),
            client_id=client_id,
            prefix=secret[: rules.SECRET_PREFIX],
            created_at=now(session),
            withdrawn_at=None,
        )
    )
    await session.flush()
    return secret


async def withdraw_secret(session: AsyncSession, client_id: str, prefix: str) -> None:
    """:raises SecretAlreadyWithdrawn: 409, no live secret begins like this"""
    await fetch(session, Partner, client_id, lock=True)
    found = [one for one in await queries.live_secrets(session, [client_id]) if one.prefix == prefix]
    if not found:
        raise rules.SecretAlreadyWithdrawn("no live secret of this partner begins like this")
    for one in found:
        one.withdrawn_at = now(session)


async def close_partner(session: AsyncSession, client_id: str) -> Partner:
    """No more tokens; those given end within minutes. Closing twice is closing once."""
    partner = await fetch(session, Partner, client_id, lock=True)
    if partner.closed_at is None:
        at = partner.closed_at = now(session)
        publish(session, PartnerClosed(client_id=client_id, closed_at=at))
    for one in await queries.live_secrets(session, [client_id]):
        one.withdrawn_at = now(session)
    return partner


async def issue_partner_token(
    session: AsyncSession, client_id: str, secret: str, asked: str | None, minter: Minter
) -> PartnerToken:
    """A token by client credentials (RFC 6749 §4.4); all of the client's scopes where none are named.

    :raises InvalidClient: 401, the same whatever was wrong
    :raises UnknownScope: 422
    """
    given = fingerprint(secret)
    partner = await session.get(Partner, client_id)
    known = await queries.live_secrets(session, [client_id])
    matched = False
    for one in known:  # all of them, so that time does not tell which
        matched |= hmac.compare_digest(one.secret_sha256, given)
    if partner is None or partner.closed_at is not None or not matched:
        raise rules.InvalidClient("client authentication failed", error="invalid_client")
    scopes = rules.check_scopes(asked.split() if asked else partner.scopes, partner.scopes)
    token = await minter.for_partner(session, client_id, scopes, now(session))
    return PartnerToken(token, int(minter.partner_life.total_seconds()), scopes)
