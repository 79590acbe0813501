"""Role grants: one operator proposes, an independent one confirms.

Two operators are independent where their own roles rest on no operator in common. An operator's role rests on whoever
proposed and confirmed it, on whom theirs rest, and so on; at the command line it is made to rest on nobody else.
So one person with any number of accounts gives none of them a role: every operator they proposed or confirmed rests on
their first account.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations
from typing import Final
from uuid import UUID

from shared.clock import later
from shared.errors import Conflict, Forbidden

STANDS: Final = timedelta(days=7)
"""How long a proposal waits for its confirmation."""

Words = Mapping[UUID, Collection[UUID]]
"""By operator, who proposed and confirmed their role. Operators made at the command line are left out."""


class GrantState(StrEnum):
    """Where a proposal of roles stands.

    - `waiting`: another operator may confirm it.
    - `confirmed`: the account has the roles.
    - `refused`: an operator said no to it.
    - `replaced`: other roles were proposed or given since.
    - `void`: its proposer is no operator any more, or the account was closed.
    - `expired`: nobody confirmed it in time.
    """

    WAITING = "waiting"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    REPLACED = "replaced"
    VOID = "void"
    EXPIRED = "expired"


class NotIndependent(Forbidden):
    """Who proposed a grant does not confirm it, nor who became an operator on a word that the proposer's role rests on,
    or on the proposer's own."""

    remedy = "Ask an operator who has the role on other people's word, e.g. from the command line."


class NobodyToConfirm(Conflict):
    """No other operator could confirm this grant: all rest on the proposer's word, or the proposer on theirs."""

    remedy = "Have whoever runs this installation open a second operator at the command line."


class GrantNotWaiting(Conflict):
    """The grant was confirmed, refused or replaced, has expired, or its proposer is no operator any more."""

    remedy = "Propose the roles anew if they are still wanted."


def rests_on(operator: UUID, words: Words) -> set[UUID]:
    """Return the operator and all on whom their role rests: proposers, confirmers, theirs, and so on."""
    found, new = {operator}, [operator]
    while new:
        above = set(words.get(new.pop(), ())) - found
        found |= above
        new += above
    return found


def may_confirm(confirmer: UUID, proposer: UUID, account: UUID, words: Words) -> bool:
    """Whether the confirmer is independent of the proposer, and of the account that is to have the roles."""
    own = rests_on(confirmer, words)
    return account not in own and own.isdisjoint(rests_on(proposer, words))


def can_grant(operators: Iterable[UUID], words: Words) -> bool:
    """Whether two of the operators are independent, so that they can confirm each other's grants."""
    return any(one.isdisjoint(other) for one, other in combinations([rests_on(one, words) for one in operators], 2))


def state_of(outcome: str | None, proposed_at: datetime, now: datetime) -> GrantState:
    """Return the state of a role grant: its outcome, or whether it still waits or has expired."""
    if outcome is not None:
        return GrantState(outcome)
    return GrantState.WAITING if now < later(proposed_at, STANDS) else GrantState.EXPIRED
