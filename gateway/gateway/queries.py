"""The gateway's database reads."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.domain.keys import Key, KeyState
from gateway.tables import (
    Account,
    AccountRole,
    ExternalIdentity,
    OperatorGrant,
    Partner,
    PartnerSecret,
    RefreshToken,
    RoleGrant,
    SigningKey,
)


async def account_by_email(session: AsyncSession, key: str) -> Account | None:
    return await session.scalar(select(Account).where(Account.email_key == key))


async def account_of(session: AsyncSession, issuer: str, subject: str) -> Account | None:
    """Return the account linked to an identity at an outside issuer."""
    return await session.scalar(
        select(Account)
        .join(ExternalIdentity, ExternalIdentity.account_id == Account.account_id)
        .where(ExternalIdentity.issuer == issuer, ExternalIdentity.subject == subject)
    )


async def newest_token(session: AsyncSession, sign_in_id: UUID) -> tuple[bytes, int]:
    """Return the digest of a session's one unused refresh token, and how many tokens it has had."""
    token = RefreshToken
    had = await session.scalar(select(func.count()).select_from(token).where(token.sign_in_id == sign_in_id))
    newest = await session.scalars(
        select(token.token_sha256).where(token.sign_in_id == sign_in_id, token.superseded_at.is_(None))
    )
    return newest.one(), had or 0


async def roles_of(session: AsyncSession, account_id: UUID) -> list[str]:
    found = await session.scalars(
        select(AccountRole.role).where(AccountRole.account_id == account_id).order_by(AccountRole.role)
    )
    return list(found)


async def lost_role(session: AsyncSession, account_id: UUID, role: str) -> bool:
    """Whether the account exists but is closed or lacks the role, which its token may still show."""
    account = await session.get(Account, account_id)
    return account is not None and (account.closed_at is not None or role not in await roles_of(session, account_id))


async def roles_of_all(session: AsyncSession, accounts: Sequence[UUID]) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = {account: [] for account in accounts}
    rows = await session.execute(
        select(AccountRole.account_id, AccountRole.role)
        .where(AccountRole.account_id.in_(accounts))
        .order_by(AccountRole.role)
    )
    for account_id, role in rows:
        found[account_id].append(role)
    return found


async def words(session: AsyncSession) -> dict[UUID, set[UUID]]:
    """Return, by operator, every operator who proposed or confirmed their role, ever.

    Operators made at the command line are left out.
    """
    found: dict[UUID, set[UUID]] = {}
    roots: set[UUID] = set()
    for account_id, granted_by in await session.execute(select(OperatorGrant.account_id, OperatorGrant.granted_by)):
        try:
            found.setdefault(account_id, set()).add(UUID(granted_by))
        except ValueError:  # granted at the command line, not by an account
            roots.add(account_id)
    return {one: by for one, by in found.items() if one not in roots}


async def operators(session: AsyncSession) -> set[UUID]:
    """Return the ids of the operators whose account is open."""
    found = await session.scalars(
        select(AccountRole.account_id)
        .join(Account, Account.account_id == AccountRole.account_id)
        .where(AccountRole.role == "operator", Account.closed_at.is_(None))
    )
    return set(found)


def role_grants(account_id: UUID | None, *, waiting_since: datetime | None) -> Select[RoleGrant]:
    """Return a statement for the role grants of one account, or of all.

    With `waiting_since` only those that still wait and were proposed after that instant.
    """
    statement = select(RoleGrant)
    if account_id is not None:
        statement = statement.where(RoleGrant.account_id == account_id)
    if waiting_since is not None:
        statement = statement.where(RoleGrant.outcome.is_(None), RoleGrant.proposed_at > waiting_since)
    return statement


async def emails_of(session: AsyncSession, accounts: Collection[UUID]) -> dict[UUID, str]:
    rows = await session.execute(select(Account.account_id, Account.email).where(Account.account_id.in_(accounts)))
    return {row.account_id: row.email for row in rows}


async def refresh_token(session: AsyncSession, fingerprint: bytes) -> RefreshToken | None:
    return await session.get(RefreshToken, fingerprint)


async def signing_key(session: AsyncSession, state: KeyState) -> SigningKey | None:
    return await session.scalar(select(SigningKey).where(SigningKey.state == state.value))


async def signing_keys(session: AsyncSession) -> list[SigningKey]:
    return list(await session.scalars(select(SigningKey).order_by(SigningKey.created_at)))


def as_key(row: SigningKey) -> Key:
    return Key(row.kid, KeyState(row.state), row.retired_at, row.withdrawn_at)


async def partners(session: AsyncSession) -> list[Partner]:
    return list(await session.scalars(select(Partner).order_by(Partner.registered_at, Partner.client_id)))


async def live_secrets(session: AsyncSession, client_ids: Sequence[str]) -> list[PartnerSecret]:
    return list(
        await session.scalars(
            select(PartnerSecret)
            .where(PartnerSecret.client_id.in_(client_ids), PartnerSecret.withdrawn_at.is_(None))
            .order_by(PartnerSecret.created_at)
        )
    )
