"""Accounts and their roles."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.domain import accounts as rules
from gateway.tables import Account, AccountRole, ExternalIdentity, OperatorGrant, SignIn
from shared.database import fetch, now, take_turns
from shared.events.gateway import AccountClosed, AccountOpened
from shared.ids import new_id
from shared.messaging import publish
from shared.messaging.replies import erase_replies


async def open_account(
    session: AsyncSession,
    email: str,
    password_hash: str | None,
    *,
    roles: Iterable[str] = (rules.FIRST_ROLE,),
    granted_by: str = "self",
) -> Account:
    """:raises EmailTaken: 409, whatever the case of its letters"""
    key = rules.email_key(email)
    wanted = rules.check_roles(roles)
    if await queries.account_by_email(session, key) is not None:
        raise rules.EmailTaken("there is an account with this e-mail address")
    instant = now(session)
    account = Account(
        account_id=new_id(),
        email=email.strip(),
        email_key=key,
        password_hash=password_hash,
        opened_at=instant,
        closed_at=None,
    )
    session.add(account)
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError as error:  # somebody was quicker
        raise rules.EmailTaken("there is an account with this e-mail address") from error
    session.add_all(
        AccountRole(account_id=account.account_id, role=role, granted_at=instant, granted_by=granted_by)
        for role in sorted(wanted)
    )
    if "operator" in wanted:
        await _note_operator(session, account.account_id, granted_by)
    publish(session, AccountOpened(account_id=account.account_id, opened_at=instant))
    await session.flush()
    return account


async def set_roles(session: AsyncSession, account_id: UUID, roles: Iterable[str], *, granted_by: str) -> list[str]:
    """The account's roles from now on; a token already given keeps its own until it expires.

    :raises UnknownRole: 422
    :raises OwnGrant: 403
    :raises LastOperator: 409
    """
    wanted = rules.check_roles(roles)
    await take_turns(session, "operators")
    await fetch(session, Account, account_id, lock=True)
    present = set(await queries.roles_of(session, account_id))
    if wanted - present and str(account_id) in await queries.granters(session, granted_by):
        raise rules.OwnGrant("another operator gives you roles")
    if "operator" in present - wanted and await queries.open_operators(session) == 1:
        raise rules.LastOperator("somebody must remain who can grant roles")
    if gone := present - wanted:
        await session.execute(
            delete(AccountRole).where(AccountRole.account_id == account_id, AccountRole.role.in_(gone))
        )
    session.add_all(
        AccountRole(account_id=account_id, role=role, granted_at=now(session), granted_by=granted_by)
        for role in sorted(wanted - present)
    )
    if "operator" in wanted - present:
        await _note_operator(session, account_id, granted_by)
    await session.flush()
    return sorted(wanted)


async def _note_operator(session: AsyncSession, account_id: UUID, granted_by: str) -> None:
    """For good: a role that is taken away again hides nobody who gave it."""
    grant = {"account_id": account_id, "granted_by": granted_by, "granted_at": now(session)}
    await session.execute(insert(OperatorGrant).values(grant).on_conflict_do_nothing())


async def erase_account(session: AsyncSession, account_id: UUID) -> None:
    """Close an account for good: sessions end, address, password and roles go. The address may be used anew.

    Repeated, it changes nothing; nor does it where there is no such account (an outside issuer may vouch for learners).
    """
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None:
        return
    instant = now(session)
    await erase_replies(session, account_id, account.email)
    account.email, account.password_hash = "", None
    account.email_key = f"erased {account_id}"  # as unique as an address, and none
    await session.execute(delete(ExternalIdentity).where(ExternalIdentity.account_id == account_id))
    await session.execute(delete(AccountRole).where(AccountRole.account_id == account_id))
    await session.execute(
        update(SignIn)
        .where(SignIn.account_id == account_id, SignIn.ended_at.is_(None))
        .values(ended_at=instant, end_reason="account_closed")
    )
    if account.closed_at is None:
        account.closed_at = instant
        publish(session, AccountClosed(account_id=account_id, reason_code="anonymised", closed_at=instant))
