"""Decisions about credit that only other services know, as this database was restored from a copy made before it was
awarded."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.commands import decisions
from assessment.domain import marks, regulations
from assessment.tables import Board, Credit, Decision
from shared.database import now
from shared.errors import Conflict
from shared.events.assessment import CreditReinstated, CreditRevoked
from shared.ids import new_id
from shared.messaging import history, publish


class CreditIsHere(Conflict):
    """This database knows the credit: the board decides about it over the API."""


class NoHistoryLost(Conflict):
    """Only where lost history was accepted is there credit that this database does not know."""


@dataclass(frozen=True, slots=True)
class LostCredit:
    """A credit as credentials has it."""

    credit_id: UUID
    learner_id: UUID
    enrolment_id: UUID


async def decide(
    session: AsyncSession, actor: UUID, credit: LostCredit, reason_code: str, minutes_reference: str, *, revoke: bool
) -> Board:
    """Revoke lost credit, or reinstate it, by the minutes of a board.

    The marks are lost, too: whoever runs this answers for it that the actor had no part in the result. Raises
    CreditIsHere, NoHistoryLost, OwnWork or UnknownReason.
    """
    if await session.get(Credit, credit.credit_id) is not None:
        raise CreditIsHere("the credit is here: it is revoked, or given back, over the API")
    if await history.accepted_at(session) is None:
        raise NoHistoryLost("no lost history was accepted here: `restored show`, then `restored accept`")
    if actor == credit.learner_id:
        raise marks.OwnWork("nobody decides about their own credit")
    rules = regulations.in_force(now(session))
    marks.check_reason(reason_code, rules.revocation_reasons if revoke else rules.reinstatement_reasons)
    said = await session.scalar(select(func.max(Decision.decided_at)).where(Decision.subject_id == credit.credit_id))
    at = now(session) if said is None else max(now(session), said + timedelta(seconds=1))
    board = Board(
        board_id=new_id(),
        minutes_reference=minutes_reference,
        ratified=0,
        credits_awarded=0,
        deferred=0,
        decided_by=str(actor),
        decided_at=at,
    )
    session.add(board)
    kind = "credit_revoked" if revoke else "credit_reinstated"
    decisions.record(session, kind, credit.credit_id, str(actor), reason_code=reason_code, at=at, lost=True)
    fields: dict[str, Any] = {  # Any: an event's fields
        "credit_id": credit.credit_id,
        "learner_id": credit.learner_id,
        "enrolment_id": credit.enrolment_id,
        "reason_code": reason_code,
        "board_id": board.board_id,
        # How often it was decided about is lost as well: an instant in seconds is above any such count, and above the
        # last instant
        "revision": int(at.timestamp()),
    }
    if revoke:
        publish(session, CreditRevoked(**fields, revoked_at=at, decided_by=board.decided_by))
    else:
        publish(session, CreditReinstated(**fields, reinstated_at=at))
    return board
