"""Commands on accounts: open, change the address, end sessions, erase."""

import logging
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.commands.grants import add_roles, leaves_nobody, void_grants
from gateway.domain import accounts as rules
from gateway.tables import Account, AccountRole, ExternalIdentity, SignIn
from shared.committed_log import log_once_committed
from shared.database import Unknown, advisory_lock, fetch, now
from shared.events.gateway import AccountClosed, AccountOpened
from shared.idempotency import erase_replies
from shared.ids import new_id
from shared.messaging import publish

log = logging.getLogger(__name__)

_TAKEN: Final = "there is an account with this e-mail address"


async def open_account(
    session: AsyncSession,
    email: str,
    password_hash: str | None,
    *,
    roles: Iterable[str] = (rules.FIRST_ROLE,),
    granted_by: str = "self",
) -> Account:
    """Open an account with these roles and publish AccountOpened.

    :raises EmailTaken: 409, the address has an account, in whatever case
    """
    key = rules.email_key(email)
    wanted = rules.check_roles(roles)
    await _must_be_free(session, key)
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
    await _flush_address(session)
    await add_roles(session, account.account_id, wanted, granted_by)
    publish(session, AccountOpened(account_id=account.account_id, opened_at=instant))
    await session.flush()
    return account


async def change_email(session: AsyncSession, account_id: UUID, email: str) -> None:
    """Change the e-mail address with which the account signs in.

    :raises EmailTaken: 409, another account has it
    :raises Unknown: 404, no such account, or it is closed
    """
    key = rules.email_key(email)
    account = await fetch(session, Account, account_id, lock=True)
    if account.closed_at is not None:
        raise Unknown("this account is closed")
    if key != account.email_key:
        await _must_be_free(session, key)
    account.email, account.email_key = email.strip(), key
    await _flush_address(session)


async def _must_be_free(session: AsyncSession, key: str) -> None:
    if await queries.account_by_email(session, key) is not None:
        raise rules.EmailTaken(_TAKEN)


async def _flush_address(session: AsyncSession) -> None:
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError as error:  # another transaction took the address in between
        raise rules.EmailTaken(_TAKEN) from error


async def end_sessions(session: AsyncSession, account_id: UUID, reason: str) -> None:
    """End all sessions of the account; access tokens already issued are valid until they expire, within minutes."""
    running = update(SignIn).where(SignIn.account_id == account_id, SignIn.ended_at.is_(None))
    await session.execute(running.values(ended_at=now(session), end_reason=reason))


async def erase_account(session: AsyncSession, account_id: UUID) -> None:
    """Close an account for good: end its sessions, delete address, password and roles. The address becomes free.

    Repeated, it changes nothing; nor does it where there is no such account.
    """
    await advisory_lock(session, "operators")  # before the account's row, in the same order as everywhere
    # Locked as for a change of its key, so that whoever is opening a session of it has committed first.
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None:
        return
    instant = now(session)
    operators = await queries.operators(session)
    if account_id in operators and leaves_nobody(operators, account_id, await queries.words(session)):
        said = "an operator was anonymised, and nobody is left who can give roles; open another at the command line"
        log_once_committed(session, log, logging.ERROR, said)
    await void_grants(session, account_id)
    await erase_replies(session, account_id, account.email)
    account.email, account.password_hash = "", None
    account.email_key = f"erased {account_id}"  # unique, and no address
    await session.execute(delete(ExternalIdentity).where(ExternalIdentity.account_id == account_id))
    await session.execute(delete(AccountRole).where(AccountRole.account_id == account_id))
    await end_sessions(session, account_id, "account_closed")
    if account.closed_at is None:
        account.closed_at = instant
        publish(session, AccountClosed(account_id=account_id, reason_code="anonymised", closed_at=instant))
