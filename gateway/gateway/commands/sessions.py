"""Commands on sessions: sign in, refresh, sign out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.adapters.oidc import Identity
from gateway.commands.accounts import open_account
from gateway.commands.tokens import TokenIssuer
from gateway.domain import accounts, sessions
from gateway.domain.sessions import InvalidRefreshToken, Presented, Refresh
from gateway.tables import Account, ExternalIdentity, RefreshToken, SignIn
from shared.database import fetch, now
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long a session lasts, and how long a refresh may be repeated; `secret` derives the refresh tokens."""

    session: timedelta
    grace: timedelta
    secret: bytes


@dataclass(frozen=True, slots=True)
class Tokens:
    """The access and refresh token of a session, with the account; `expires_in` is in seconds."""

    access_token: str
    expires_in: int
    refresh_token: str
    session_expires_at: datetime
    account: Account
    roles: list[str]


@dataclass(frozen=True, slots=True)
class Reused:
    """A refresh token was used again, so its session was ended. Returned, not raised: the end must be committed."""


async def sign_in(
    session: AsyncSession, account: Account, token_issuer: TokenIssuer, session_policy: SessionPolicy
) -> Tokens:
    """Open a session of an account whose owner has been authenticated.

    :raises AccountIsClosed: 401
    """
    if account.closed_at is not None:
        raise accounts.AccountIsClosed("this account was closed")
    instant = now(session)
    opened = SignIn(
        sign_in_id=new_id(),
        account_id=account.account_id,
        opened_at=instant,
        expires_at=instant + session_policy.session,
        ended_at=None,
        end_reason=None,
    )
    session.add(opened)
    await session.flush()
    token = sessions.first_token()
    session.add(
        RefreshToken(
            token_sha256=sessions.fingerprint(token),
            sign_in_id=opened.sign_in_id,
            issued_at=instant,
            superseded_at=None,
        )
    )
    return await _tokens(session, account, opened, token, token_issuer)


async def sign_in_from_outside(
    session: AsyncSession, identity: Identity, token_issuer: TokenIssuer, session_policy: SessionPolicy
) -> Tokens:
    """Open a session of an identity that an outside issuer has verified; the first time opens an account.

    :raises EmailTaken: 409, the address has an account of its own here: it is not taken over
    :raises AccountIsClosed: 401
    """
    account = await queries.account_of(session, identity.issuer, identity.subject)
    if account is None:
        account = await open_account(session, identity.email, None, granted_by=identity.issuer)
        session.add(
            ExternalIdentity(
                issuer=identity.issuer,
                subject=identity.subject,
                account_id=account.account_id,
                linked_at=now(session),
            )
        )
    return await sign_in(session, account, token_issuer, session_policy)


async def refresh(
    session: AsyncSession, token: str, token_issuer: TokenIssuer, session_policy: SessionPolicy
) -> Tokens | Reused:
    """Exchange a refresh token, which is used once, for new tokens.

    :raises InvalidRefreshToken: 401, unknown or its session has ended
    :raises AccountIsClosed: 401
    """
    found = await queries.refresh_token(session, sessions.fingerprint(token))
    if found is None:
        raise InvalidRefreshToken("this refresh token is not known")
    family = await fetch(session, SignIn, found.sign_in_id, lock=True)  # one at a time within a family
    await session.refresh(found)
    account = await fetch(session, Account, family.account_id)
    if account.closed_at is not None:
        raise accounts.AccountIsClosed("this account was closed")
    instant = now(session)
    verdict = sessions.judge(
        Presented(found.superseded_at, family.expires_at, family.ended_at), instant, session_policy.grace
    )
    if verdict is Refresh.REUSED:
        family.ended_at, family.end_reason = instant, "refresh_token_reused"
        return Reused()
    if verdict is Refresh.REPEAT:
        newest, had = await queries.newest_token(session, family.sign_in_id)
        return await _tokens(
            session, account, family, sessions.newest(token, session_policy.secret, newest, had), token_issuer
        )
    following = sessions.successor(token, session_policy.secret)
    found.superseded_at = instant
    session.add(
        RefreshToken(
            token_sha256=sessions.fingerprint(following),
            sign_in_id=family.sign_in_id,
            issued_at=instant,
            superseded_at=None,
        )
    )
    return await _tokens(session, account, family, following, token_issuer)


async def sign_out(session: AsyncSession, token: str) -> None:
    """End the session of a refresh token; nothing changes where it is unknown or the session has ended."""
    found = await queries.refresh_token(session, sessions.fingerprint(token))
    if found is None:
        return
    family = await fetch(session, SignIn, found.sign_in_id, lock=True)
    if family.ended_at is None:
        family.ended_at, family.end_reason = now(session), "signed_out"


async def _tokens(
    session: AsyncSession, account: Account, family: SignIn, token: str, token_issuer: TokenIssuer
) -> Tokens:
    roles = await queries.roles_of(session, account.account_id)
    access = await token_issuer.for_person(session, account.account_id, roles, now(session))
    return Tokens(access, int(token_issuer.life.total_seconds()), token, family.expires_at, account, roles)
