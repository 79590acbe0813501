"""Accounts: open one, read one's own, and (operators) look them up and grant roles."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import Field
from sqlalchemy import select

from gateway import queries
from gateway.adapters.hashing import SignInBusy
from gateway.api.operators import OperatorNow
from gateway.commands import accounts as commands
from gateway.desk import Desk, PasswordsNotOffered
from gateway.domain import accounts as rules
from gateway.tables import Account
from shared.database import Unknown, fetch
from shared.web import (
    CallerOf,
    Content,
    Idempotent,
    Instant,
    Page,
    Paging,
    Router,
    Secret,
    Session,
    View,
    paginate,
    refusals,
    resource,
)

router = Router(tags=["accounts"])


class NewAccount(Content):
    email: str = Field(max_length=254, examples=["ada.lovelace@example.org"])
    password: Secret = Field(
        description=f"At least {rules.PASSWORD_SHORTEST} characters, and none of the usual ones",
        examples=["nine brass engines humming"],
    )


class AccountView(View):
    account_id: UUID = Field(description="Also the learner's id", examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    email: str = Field(examples=["ada.lovelace@example.org"])
    roles: list[str] = Field(examples=[["learner"]])
    opened_at: Instant
    closed_at: Instant | None = Field(
        default=None, description="Nobody signs in with it any more; its address is erased"
    )


class Roles(Content):
    roles: list[str] = Field(description="All the roles the account has from now on", examples=[["learner", "marker"]])


def view(account: Account, roles: Sequence[str]) -> AccountView:
    return AccountView(
        account_id=account.account_id,
        email=account.email,
        roles=list(roles),
        opened_at=account.opened_at,
        closed_at=account.closed_at,
    )


@router.post(
    "/v1/accounts",
    operation_id="open_account",
    status_code=201,
    dependencies=[Idempotent],
    responses=refusals(
        PasswordsNotOffered,
        rules.EmailMalformed,
        rules.PasswordTooShort,
        rules.PasswordTooLong,
        rules.PasswordTooCommon,
        rules.EmailTaken,
        SignInBusy,
    ),
)
async def open_account(wish: NewAccount, session: Session, desk: Annotated[Desk, resource(Desk)]) -> AccountView:
    """Open an account with an e-mail address and a password; sign in next."""
    desk.must_offer_passwords()
    rules.check_password(wish.password, wish.email, desk.common_passwords)
    async with desk.hashing.turn():
        password_hash = await desk.hashing.make(wish.password)
    account = await commands.open_account(session, wish.email, password_hash)
    return view(account, await queries.roles_of(session, account.account_id))


@router.get("/v1/accounts/me", operation_id="read_own_account", responses=refusals(Unknown))
async def read_own_account(session: Session, caller: CallerOf) -> AccountView:
    """The signed-in account and its roles as they are now (a token shows them as they were when it was issued)."""
    account = await fetch(session, Account, caller.own_id)
    return view(account, await queries.roles_of(session, account.account_id))


@router.get("/v1/accounts", operation_id="list_accounts", responses=refusals(rules.EmailMalformed))
async def list_accounts(
    session: Session,
    paging: Paging,
    email: Annotated[str | None, Query(max_length=254, description="Exactly this address, in any case")] = None,
) -> Page[AccountView]:
    """Accounts, oldest first (operators)."""
    statement = select(Account)
    if email is not None:
        statement = statement.where(Account.email_key == rules.email_key(email))
    found, cursor = await paginate(session, statement, paging, by=[Account.opened_at, Account.account_id])
    roles = await queries.roles_of_all(session, [account.account_id for account in found])
    return Page(items=[view(account, roles[account.account_id]) for account in found], next_cursor=cursor)


@router.post(
    "/v1/accounts/{account_id}/roles",
    operation_id="set_roles",
    dependencies=[OperatorNow],
    responses=refusals(rules.UnknownRole, rules.OwnGrant, rules.LastOperator),
)
async def set_roles(account_id: UUID, wish: Roles, session: Session, caller: CallerOf) -> AccountView:
    """Set an account's roles (operators). One's own account only loses roles: others give them."""
    roles = await commands.set_roles(session, account_id, wish.roles, granted_by=caller.name)
    return view(await fetch(session, Account, account_id), roles)
