"""Operators as they are now: a token shows roles as they were when it was issued."""

from typing import Final

from fastapi import Depends

from gateway import queries
from shared.access import NotPermitted
from shared.database import take_turns
from shared.web import CallerOf, Session


async def _must_still_be_operator(session: Session, caller: CallerOf) -> None:
    """Who was an operator and is none any more changes nothing: otherwise they could still make others operators."""
    await take_turns(session, "operators")
    if caller.id is not None and await queries.lost_role(session, caller.id, "operator"):
        raise NotPermitted("you are no longer an operator")


OperatorNow: Final = Depends(_must_still_be_operator)
"""With every operation by which an operator changes something."""
