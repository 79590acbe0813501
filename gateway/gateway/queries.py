"""Reads."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
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
    SigningKey,
)


async def account_by_email(session: AsyncSession, key: str) -> Account | None:
    return await session.scalar(select(Account).where(Account.email_key == key))


async def account_of(session: AsyncSession, issuer: str, subject: str) -> Account | None:
    return await session.scalar(
        select(Account)
        .join(ExternalIdentity, ExternalIdentity.account_id == Account.account_id)
        .where(ExternalIdentity.issuer == issuer, ExternalIdentity.subject == subject)
    )


async def roles_of(session: AsyncSession, account_id: UUID) -> list[str]:
    found = await session.scalars(
        select(AccountRole.role).where(AccountRole.account_id == account_id).order_by(AccountRole.role)
    )
    return list(found)


async def lost_role(session: AsyncSession, account_id: UUID, role: str) -> bool:
    """Whether the account lacks a role that its token may still show, or is closed."""
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


async def granters(session: AsyncSession, name: str) -> set[str]:
    """Who grants, who ever made them an operator, who made those one, and so on to the command line."""
    found, new = {name}, {name}
    while accounts := [UUID(one) for one in new if _is_account(one)]:
        above = select(OperatorGrant.granted_by).where(OperatorGrant.account_id.in_(accounts))
        new = set(await session.scalars(above)) - found
        found |= new
    return found


def _is_account(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:  # the command line, an outside issuer
        return False
    return True


async def open_operators(session: AsyncSession) -> int:
    counted = await session.scalar(
        select(func.count())
        .select_from(AccountRole)
        .join(Account, Account.account_id == AccountRole.account_id)
        .where(AccountRole.role == "operator", Account.closed_at.is_(None))
    )
    return counted or 0


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
