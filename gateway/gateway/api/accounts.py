"""Operations on accounts: open one, read one's own, and (operators) look them up."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from pydantic import Field, ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.adapters.hashing import SignInBusy
from gateway.api.auth_settings import AuthSettings, PasswordsNotOffered
from gateway.commands import accounts as commands
from gateway.domain import accounts as rules
from gateway.tables import Account
from shared.database import Unknown, fetch
from shared.paging import paginate
from shared.web import (
    CallerOf,
    Idempotent,
    Instant,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Secret,
    Session,
    View,
    error_responses,
    page_of,
    resource,
)

router = Router(tags=["accounts"])


class AccountRequest(RequestModel):
    """An account to be opened by whoever will sign in with it."""

    email: str = Field(max_length=254, examples=["ada.lovelace@example.org"])
    password: Secret = Field(
        description=f"At least {rules.PASSWORD_SHORTEST} characters, and none of the usual ones",
        examples=["nine brass engines humming"],
    )


class AccountView(View):
    """An account and the roles it has."""

    account_id: UUID = Field(description="Also the learner's id", examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    email: str = Field(examples=["ada.lovelace@example.org"])
    roles: list[str] = Field(examples=[["learner"]])
    opened_at: Instant
    closed_at: Instant | None = Field(
        default=None, description="Nobody signs in with it any more; its address is erased"
    )


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
    responses=error_responses(
        PasswordsNotOffered,
        rules.EmailMalformed,
        rules.PasswordTooShort,
        rules.PasswordTooLong,
        rules.PasswordTooCommon,
        rules.EmailTaken,
        SignInBusy,
    ),
)
async def open_account(
    body: AccountRequest, session: Session, auth: Annotated[AuthSettings, resource(AuthSettings)]
) -> AccountView:
    """Open an account with an e-mail address and a password; sign in next.

    A repeat with the same key has the password that the account has, or it is another request.
    """
    auth.must_offer_passwords()
    rules.check_password(body.password, body.email, auth.common_passwords)
    async with auth.hashing.slot():
        password_hash = await auth.hashing.make(body.password)
    account = await commands.open_account(session, body.email, password_hash)
    return view(account, await queries.roles_of(session, account.account_id))


@router.same_secrets("open_account")
async def has_password(request: Request, session: AsyncSession, reply: bytes) -> bool:
    """Return whether the request has the password of the account that this reply shows."""
    auth: AuthSettings = request.app.state.resources[AuthSettings]
    try:
        asked = AccountRequest.model_validate_json(await request.body())
    except ValidationError:
        return False
    account = await fetch(session, Account, AccountView.model_validate_json(reply).account_id)
    async with auth.hashing.slot():
        return await auth.hashing.matches(account.password_hash, asked.password)


@router.get("/v1/accounts/me", operation_id="read_own_account", responses=error_responses(Unknown))
async def read_own_account(session: ReadSession, caller: CallerOf) -> AccountView:
    """The signed-in account and its roles as they are now (a token shows them as they were when it was issued)."""
    account = await fetch(session, Account, caller.own_id)
    return view(account, await queries.roles_of(session, account.account_id))


@router.get("/v1/accounts", operation_id="list_accounts", responses=error_responses(rules.EmailMalformed))
async def list_accounts(
    session: ReadSession,
    paging: Paging,
    email: Annotated[str | None, Query(max_length=254, description="Exactly this address, in any case")] = None,
) -> Page[AccountView]:
    """Accounts, oldest first (operators)."""
    statement = select(Account)
    if email is not None:
        statement = statement.where(Account.email_key == rules.email_key(email))
    found, cursor = await paginate(session, statement, paging, by=[Account.opened_at, Account.account_id])
    roles = await queries.roles_of_all(session, [account.account_id for account in found])
    return page_of(found, lambda account: view(account, roles[account.account_id]), cursor)
