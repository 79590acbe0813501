"""The record of who decided what."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.tables import Decision
from shared.database import now
from shared.ids import new_id


def record(
    session: AsyncSession,
    kind: str,
    subject_id: UUID,
    actor: str,
    *,
    reason_code: str | None = None,
    at: datetime | None = None,
    **details: Any,  # Any: JSON
) -> None:
    """Write down who decided what, with the decision itself."""
    session.add(
        Decision(
            decision_id=new_id(),
            kind=kind,
            subject_id=subject_id,
            actor=actor,
            reason_code=reason_code,
            decided_at=at or now(session),
            details=details,
        )
    )


async def record_all(session: AsyncSession, kind: str, subject_ids: Sequence[UUID], actor: str) -> None:
    """Write down one decision about each of many objects."""
    if not subject_ids:
        return
    decided: dict[str, Any] = {
        "kind": kind,
        "actor": actor,
        "reason_code": None,
        "decided_at": now(session),
        "details": {},
    }
    rows = [{"decision_id": new_id(), "subject_id": subject_id, **decided} for subject_id in subject_ids]
    await session.execute(insert(Decision), rows)
