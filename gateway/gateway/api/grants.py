"""Operations on roles: one operator takes them away; to give one, an operator proposes and a second one confirms."""

from collections.abc import Callable, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.api.accounts import AccountView, view
from gateway.api.operators import OperatorNow
from gateway.commands import grants as commands
from gateway.domain import accounts as rules
from gateway.domain import grants
from gateway.domain.grants import STANDS, GrantState
from gateway.tables import Account, RoleGrant
from shared.clock import later
from shared.database import fetch, now
from shared.paging import paginate
from shared.web import (
    CallerOf,
    Instant,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    page_of,
    view_of,
)

router = Router(tags=["accounts"])


class Roles(RequestModel):
    """The roles an account is to have."""

    roles: list[str] = Field(description="All the roles the account is to have", examples=[["learner", "marker"]])


class RoleGrantView(View):
    """Roles that an operator proposed for an account; another one confirms them."""

    grant_id: UUID
    account_id: UUID = Field(description="Who is to have the roles")
    email: str = Field(description="Their address as it is now", examples=["ada.lovelace@example.org"])
    roles: list[str] = Field(description="Besides those they have", examples=[["marker"]])
    state: GrantState = Field(
        description="`replaced`: the account's roles were set or proposed anew; `void`: the account, or the proposer's "
        "role of operator, is gone"
    )
    proposed_by: UUID
    proposer_email: str = Field(examples=["grace.hopper@example.org"])
    proposed_at: Instant
    expires_at: Instant = Field(description="Until when it can be confirmed")
    decided_by: UUID | None
    decided_at: Instant | None


class RolesView(AccountView):
    """An account, its roles, and those proposed for it."""

    proposed: RoleGrantView | None = Field(description="What waits for another operator's word")


async def _viewer(session: AsyncSession, found: Sequence[RoleGrant]) -> Callable[[RoleGrant], RoleGrantView]:
    emails = await queries.emails_of(session, {person for one in found for person in (one.account_id, one.proposed_by)})
    return lambda one: RoleGrantView(
        grant_id=one.grant_id,
        account_id=one.account_id,
        email=emails[one.account_id],
        roles=one.roles,
        state=grants.state_of(one.outcome, one.proposed_at, now(session)),
        proposed_by=one.proposed_by,
        proposer_email=emails.get(one.proposed_by, ""),
        proposed_at=one.proposed_at,
        expires_at=later(one.proposed_at, STANDS),
        decided_by=one.decided_by,
        decided_at=one.decided_at,
    )


async def _view(session: AsyncSession, grant: RoleGrant) -> RoleGrantView:
    return view_of(grant, await _viewer(session, [grant]))


@router.post(
    "/v1/accounts/{account_id}/roles",
    operation_id="set_roles",
    dependencies=[OperatorNow],
    responses=error_responses(rules.UnknownRole, rules.OwnGrant, rules.LastOperator, grants.NobodyToConfirm),
)
async def set_roles(account_id: UUID, body: Roles, session: Session, caller: CallerOf) -> RolesView:
    """Set an account's roles (operators). Roles that are left out are gone at once; new ones wait until another
    operator confirms them (`/v1/role-grants`). One's own account only loses roles: others give them."""
    grant = await commands.set_roles(session, account_id, body.roles, by=caller.own_id)
    account = view(await fetch(session, Account, account_id), await queries.roles_of(session, account_id))
    return RolesView(**dict(account), proposed=await _view(session, grant) if grant else None)


@router.get("/v1/role-grants", operation_id="list_role_grants")
async def list_role_grants(
    session: ReadSession,
    paging: Paging,
    account_id: Annotated[UUID | None, Query(description="Only this account's")] = None,
    waiting: Annotated[bool, Query(description="Only what waits for a second word")] = False,
) -> Page[RoleGrantView]:
    """Every proposal of roles, by whom it was made and what has become of it, the newest first (operators)."""
    statement = queries.role_grants(account_id, waiting_since=now(session) - STANDS if waiting else None)
    by = [RoleGrant.proposed_at, RoleGrant.grant_id]
    found, cursor = await paginate(session, statement, paging, by=by, descending=True)
    return page_of(found, await _viewer(session, found), cursor)


@router.post(
    "/v1/role-grants/{grant_id}/confirmation",
    operation_id="confirm_role_grant",
    dependencies=[OperatorNow],
    responses=error_responses(rules.OwnGrant, grants.NotIndependent, grants.GrantNotWaiting),
)
async def confirm_role_grant(grant_id: UUID, session: Session, caller: CallerOf) -> RoleGrantView:
    """Give the roles that another operator proposed (operators). Make sure first that the account is whose it seems.

    Neither who proposed them nor whom they are for confirms, nor an operator who became one on a word that the
    proposer's role rests on, or the other way round. The account's next token shows the roles."""
    return await _view(session, await commands.confirm_grant(session, grant_id, by=caller.own_id))


@router.post(
    "/v1/role-grants/{grant_id}/refusal",
    operation_id="refuse_role_grant",
    dependencies=[OperatorNow],
    responses=error_responses(rules.OwnGrant, grants.GrantNotWaiting),
)
async def refuse_role_grant(grant_id: UUID, session: Session, caller: CallerOf) -> RoleGrantView:
    """Refuse the roles that another operator proposed, or take one's own proposal back (operators)."""
    return await _view(session, await commands.refuse_grant(session, grant_id, by=caller.own_id))
