"""Commands on partners: register, change secrets, close, issue tokens."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.commands.tokens import TokenIssuer
from gateway.domain import partners as rules
from gateway.domain.sessions import fingerprint
from gateway.tables import Partner, PartnerSecret
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
    """Register a partner and publish PartnerRegistered. Returns it with its first secret, which is shown this once.

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
    """Make a further secret, so that the partner can change over without a gap. Returns it.

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
    """Withdraw the partner's live secret that begins with `prefix`.

    :raises SecretAlreadyWithdrawn: 409, none begins like this
    """
    await fetch(session, Partner, client_id, lock=True)
    found = [one for one in await queries.live_secrets(session, [client_id]) if one.prefix == prefix]
    if not found:
        raise rules.SecretAlreadyWithdrawn("no live secret of this partner begins like this")
    for one in found:
        one.withdrawn_at = now(session)


async def close_partner(session: AsyncSession, client_id: str) -> Partner:
    """Close a partner: it gets no more tokens, and those issued expire within minutes. Repeated, nothing changes."""
    partner = await fetch(session, Partner, client_id, lock=True)
    if partner.closed_at is None:
        at = partner.closed_at = now(session)
        publish(session, PartnerClosed(client_id=client_id, closed_at=at))
    for one in await queries.live_secrets(session, [client_id]):
        one.withdrawn_at = now(session)
    return partner


async def issue_partner_token(
    session: AsyncSession, client_id: str, secret: str, asked: str | None, token_issuer: TokenIssuer
) -> PartnerToken:
    """Issue an access token by client credentials (RFC 6749 §4.4), of all the client's scopes where `asked` is empty.

    :raises InvalidClient: 401, the same whatever was wrong
    :raises UnknownScope: 422
    """
    given = fingerprint(secret)
    partner = await session.get(Partner, client_id)
    known = await queries.live_secrets(session, [client_id])
    matched = False
    for one in known:  # all of them, so that the time taken does not show which matched
        matched |= hmac.compare_digest(one.secret_sha256, given)
    if partner is None or partner.closed_at is not None or not matched:
        raise rules.InvalidClient("client authentication failed", error="invalid_client")
    scopes = rules.check_scopes(asked.split() if asked else partner.scopes, partner.scopes)
    token = await token_issuer.for_partner(session, client_id, scopes, now(session))
    return PartnerToken(token, int(token_issuer.partner_life.total_seconds()), scopes)
