"""Signing in, staying signed in, signing out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.adapters.oidc import Identity
from gateway.commands.accounts import open_account
from gateway.domain import accounts, sessions
from gateway.domain.sessions import InvalidRefreshToken, Presented, Refresh
from gateway.tables import Account, ExternalIdentity, RefreshToken, SignIn
from gateway.tokens import Minter
from shared.database import fetch, now
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class Stay:
    """How long a session lasts, and how long a refresh may be repeated."""

    session: timedelta
    grace: timedelta
    secret: bytes


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a person holds to be recognised by."""

    access_token: str
    expires_in: int
    refresh_token: str
    session_expires_at: datetime
    account: Account
    roles: list[str]


@dataclass(frozen=True, slots=True)
class Reused:
    """A stolen token was noticed and its session ended. Returned, not raised: the ending must be committed."""


async def sign_in(session: AsyncSession, account: Account, minter: Minter, stay: Stay) -> Tokens:
    """Open a session for somebody who has proven who they are.

    :raises AccountClosed: 401
    """
    if account.closed_at is not None:
        raise accounts.AccountClosed("this account was closed")
    instant = now(session)
    opened = SignIn(
        sign_in_id=new_id(),
        account_id=account.account_id,
        opened_at=instant,
        expires_at=instant + stay.session,
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
    return await _tokens(session, account, opened, token, minter)


async def sign_in_from_outside(session: AsyncSession, identity: Identity, minter: Minter, stay: Stay) -> Tokens:
    """Open a session for somebody an outside issuer vouches for; their first visit opens an account.

    :raises EmailTaken: 409, the address has an account of its own here: it is not taken over
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
    return await sign_in(session, account, minter, stay)


async def refresh(session: AsyncSession, token: str, minter: Minter, stay: Stay) -> Tokens | Reused:
    """New tokens for a refresh token, each of which is used once.

    :raises InvalidRefreshToken: 401, unknown or its session has ended
    """
    found = await queries.refresh_token(session, sessions.fingerprint(token))
    if found is None:
        raise InvalidRefreshToken("this refresh token is not known")
    family = await fetch(session, SignIn, found.sign_in_id, lock=True)  # one at a time within a family
    await session.refresh(found)
    account = await fetch(session, Account, family.account_id)
    if account.closed_at is not None:
        raise accounts.AccountClosed("this account was closed")
    instant = now(session)
    verdict = sessions.judge(Presented(found.superseded_at, family.expires_at, family.ended_at), instant, stay.grace)
    if verdict is Refresh.REUSED:
        family.ended_at, family.end_reason = instant, "refresh_token_reused"
        return Reused()
    following = sessions.successor(token, stay.secret)
    if verdict is Refresh.ROTATE:
        found.superseded_at = instant
        session.add(
            RefreshToken(
                token_sha256=sessions.fingerprint(following),
                sign_in_id=family.sign_in_id,
                issued_at=instant,
                superseded_at=None,
            )
        )
    return await _tokens(session, account, family, following, minter)


async def sign_out(session: AsyncSession, token: str) -> None:
    """End the session of a refresh token; one that is unknown or has ended is signed out already."""
    found = await queries.refresh_token(session, sessions.fingerprint(token))
    if found is None:
        return
    family = await fetch(session, SignIn, found.sign_in_id, lock=True)
    if family.ended_at is None:
        family.ended_at, family.end_reason = now(session), "signed_out"


async def _tokens(session: AsyncSession, account: Account, family: SignIn, token: str, minter: Minter) -> Tokens:
    roles = await queries.roles_of(session, account.account_id)
    access = await minter.for_person(session, account.account_id, roles, now(session))
    return Tokens(access, int(minter.life.total_seconds()), token, family.expires_at, account, roles)
