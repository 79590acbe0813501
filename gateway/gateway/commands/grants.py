"""Commands on roles. The command line gives them at once; through the API it takes two operators to give one."""

import logging
from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway import queries
from gateway.domain import accounts as rules
from gateway.domain import grants
from gateway.domain.grants import GrantState
from gateway.tables import Account, AccountRole, OperatorGrant, RoleGrant
from shared.access import refuse_own
from shared.committed_log import log_once_committed
from shared.database import Unknown, advisory_lock, fetch, now
from shared.ids import new_id

log = logging.getLogger(__name__)


async def give_roles(session: AsyncSession, account_id: UUID, roles: Iterable[str], *, granted_by: str) -> list[str]:
    """Give an account roles besides those it has, for the command line. Returns all it has then.

    :raises UnknownRole: 422
    :raises Unknown: 404, no such account, or it is closed
    """
    wanted = rules.check_roles(roles)
    await advisory_lock(session, "operators")
    _must_be_open(await fetch(session, Account, account_id, lock=True))
    await add_roles(session, account_id, wanted, granted_by)
    return await queries.roles_of(session, account_id)


async def take_roles(session: AsyncSession, account_id: UUID, roles: Collection[str], *, taken_by: str) -> list[str]:
    """Take roles from an account at once, for the command line. Returns those it has left.

    Where it is an operator no more, its waiting proposals become void. No operator has to remain: the command line can
    make new ones.
    """
    await advisory_lock(session, "operators")
    await fetch(session, Account, account_id, lock=True)
    await _take(session, account_id, set(roles) & set(await queries.roles_of(session, account_id)), taken_by, None)
    return await queries.roles_of(session, account_id)


async def set_roles(session: AsyncSession, account_id: UUID, roles: Iterable[str], *, by: UUID) -> RoleGrant | None:
    """Set an account's roles: take those left out at once, and propose those it lacks. Returns the proposal, if any.

    A proposal that waited for the account is replaced. The role of learner is given without a confirmation.

    :raises UnknownRole: 422
    :raises OwnGrant: 403
    :raises LastOperator: 409
    :raises NobodyToConfirm: 409
    """
    wanted = rules.check_roles(roles)
    await advisory_lock(session, "operators")
    account = await fetch(session, Account, account_id, lock=True)
    present = set(await queries.roles_of(session, account_id))
    gains, gone = wanted - present, present - wanted
    words = await queries.words(session)
    own = rules.OwnGrant("another operator gives you roles")
    refuse_own(session, own, account_id if gains else None, *grants.rests_on(by, words))
    if gains:
        _must_be_open(account)
    operators = await queries.operators(session)
    if "operator" in gone and leaves_nobody(operators, account_id, words):
        raise rules.LastOperator("two operators must remain who can confirm each other's grants")
    await _end(session, GrantState.REPLACED, by, RoleGrant.account_id == account_id)
    await _take(session, account_id, gone, str(by), by)
    await add_roles(session, account_id, gains & {rules.FIRST_ROLE}, str(by))
    if not (proposed := gains - {rules.FIRST_ROLE}):
        return None
    if not any(grants.may_confirm(one, by, account_id, words) for one in operators):
        raise grants.NobodyToConfirm("no other operator could confirm this grant")
    grant = RoleGrant(
        grant_id=new_id(),
        account_id=account_id,
        roles=sorted(proposed),
        proposed_by=by,
        proposed_at=now(session),
        outcome=None,
        decided_by=None,
        decided_at=None,
    )
    session.add(grant)
    await session.flush()
    return grant


async def confirm_grant(session: AsyncSession, grant_id: UUID, *, by: UUID) -> RoleGrant:
    """Confirm a role grant: the account has the roles from now on. Repeated by the same operator it changes nothing.

    :raises OwnGrant: 403
    :raises NotIndependent: 403
    :raises GrantNotWaiting: 409
    """
    await advisory_lock(session, "operators")
    grant = await fetch(session, RoleGrant, grant_id, lock=True)
    words = await queries.words(session)
    own = rules.OwnGrant("another operator decides about your roles")
    refuse_own(session, own, grant.account_id, *grants.rests_on(by, words))
    if not grants.may_confirm(by, grant.proposed_by, grant.account_id, words):
        raise grants.NotIndependent("this grant needs the word of an operator independent of who proposed it")
    if _decide(grant, GrantState.CONFIRMED, by, now(session)):
        _must_be_open(await fetch(session, Account, grant.account_id, lock=True))
        await add_roles(session, grant.account_id, grant.roles, str(grant.proposed_by), str(by))
    return grant


async def refuse_grant(session: AsyncSession, grant_id: UUID, *, by: UUID) -> RoleGrant:
    """Refuse a role grant; its proposer may withdraw it in this way, too.

    :raises OwnGrant: 403
    :raises GrantNotWaiting: 409
    """
    await advisory_lock(session, "operators")
    grant = await fetch(session, RoleGrant, grant_id, lock=True)
    refuse_own(session, rules.OwnGrant("another operator decides about your roles"), grant.account_id, by)
    _decide(grant, GrantState.REFUSED, by, now(session))
    await session.flush()
    return grant


async def add_roles(session: AsyncSession, account_id: UUID, roles: Collection[str], *words: str) -> None:
    """Give the account those of the roles that it lacks.

    `words` are who proposed and confirmed them; the last one is stored as who granted the role.
    """
    values = [
        {"account_id": account_id, "role": role, "granted_at": now(session), "granted_by": words[-1]}
        for role in sorted(roles)
    ]
    if values:
        await session.execute(insert(AccountRole).values(values).on_conflict_do_nothing())
    if "operator" in roles:  # kept for good: on whom a role rests must be known also where one of them lost theirs
        noted = [{"account_id": account_id, "granted_by": one, "granted_at": now(session)} for one in words]
        await session.execute(insert(OperatorGrant).values(noted).on_conflict_do_nothing())
    await session.flush()


async def _take(
    session: AsyncSession, account_id: UUID, roles: Collection[str], by: str, operator: UUID | None
) -> None:
    if not roles:
        return
    await session.execute(delete(AccountRole).where(AccountRole.account_id == account_id, AccountRole.role.in_(roles)))
    if "operator" in roles:
        await _end(session, GrantState.VOID, operator, RoleGrant.proposed_by == account_id)
    said = {"account": str(account_id), "roles": sorted(roles), "by": by}
    log_once_committed(session, log, logging.WARNING, "roles taken", said)


def leaves_nobody(operators: set[UUID], without: UUID, words: grants.Words) -> bool:
    """Whether, without this operator, none would remain, or no two any more who can confirm each other's grants."""
    left = operators - {without}
    return not left or (grants.can_grant(operators, words) and not grants.can_grant(left, words))


async def void_grants(session: AsyncSession, account_id: UUID) -> None:
    """End the grants that wait for this account or were proposed by it, because it is closed."""
    concerned = or_(RoleGrant.account_id == account_id, RoleGrant.proposed_by == account_id)
    await _end(session, GrantState.VOID, None, concerned)


def _must_be_open(account: Account) -> None:
    if account.closed_at is not None:
        raise Unknown("this account is closed")


def _decide(grant: RoleGrant, outcome: GrantState, by: UUID, at: datetime) -> bool:
    """Store the outcome of a grant. Returns False where the same operator has decided the same before.

    :raises GrantNotWaiting: 409
    """
    if (grant.outcome, grant.decided_by) == (outcome, by):
        return False
    state = grants.state_of(grant.outcome, grant.proposed_at, at)
    if state is not GrantState.WAITING:
        raise grants.GrantNotWaiting(f"this grant is {state}", state=state)
    grant.outcome, grant.decided_by, grant.decided_at = outcome, by, at
    return True


async def _end(session: AsyncSession, outcome: GrantState, by: UUID | None, which: ColumnElement[bool]) -> None:
    waiting = update(RoleGrant).where(RoleGrant.outcome.is_(None), which)
    await session.execute(waiting.values(outcome=outcome, decided_by=by, decided_at=now(session)))
