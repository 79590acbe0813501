"""A check that the caller is still an operator: a token shows roles as they were when it was issued."""

from typing import Final

from fastapi import Depends

from gateway import queries
from shared.access import NotPermitted
from shared.database import advisory_lock
from shared.web import CallerOf, Session


async def _must_still_be_operator(session: Session, caller: CallerOf) -> None:
    """Refuse a caller who has lost the role: with an old token they could still make others operators.

    :raises NotPermitted: 403
    """
    await advisory_lock(session, "operators")
    if caller.id is not None and await queries.lost_role(session, caller.id, "operator"):
        raise NotPermitted("you are no longer an operator")


OperatorNow: Final = Depends(_must_still_be_operator)
"""A dependency of every operation by which an operator changes accounts or roles."""
